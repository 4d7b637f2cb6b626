"""The full-screen console: a view of what the worker says over its socket, and nothing else."""
