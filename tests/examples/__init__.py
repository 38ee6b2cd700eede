"""Every file of ``examples/`` is loaded, compared with a dense formulation, and run as a kernel."""
