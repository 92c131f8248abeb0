"""Chaos with real processes: a seed plans presses and faults, a live town suffers both, then promises are checked."""
