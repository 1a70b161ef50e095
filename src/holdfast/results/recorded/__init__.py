"""What recorded conversations show: logs of other tools, and runs."""
