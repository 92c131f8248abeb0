"""Figures of the whole, each beside its floor, measured in one run."""
