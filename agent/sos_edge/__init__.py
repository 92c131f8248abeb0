"""Edges that agent and station share: MQTT, SQLite, clock, systemd, log."""
