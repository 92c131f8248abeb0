"""What agent, station and simulator agree on: topics, payloads, stages, the site file."""
