"""Builds the board and the pole and hands the loop to the board."""
