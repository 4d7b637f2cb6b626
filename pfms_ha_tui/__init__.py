"""Console and failover worker for the database high availability of Pandora FMS."""

__version__ = "0.1.0"
