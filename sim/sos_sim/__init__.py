"""The simulator: the zone without hardware."""
