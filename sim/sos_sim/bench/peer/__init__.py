"""What one would pick instead, doing the same job: a script that prints lines and a forwarder, and Node-RED."""
