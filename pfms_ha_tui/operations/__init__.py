"""What changes a cluster: a step engine with a ledger, and the procedures built on it.

``engine`` runs an ``Operation`` (a list of ``Step``) and journals each transition in the ``ledger`` before
it acts; failover, switchover and rejoin are such operations. ``view`` is how they are shown.
"""
