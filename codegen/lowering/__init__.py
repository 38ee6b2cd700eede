"""From the plan of a kernel to its tile program."""
