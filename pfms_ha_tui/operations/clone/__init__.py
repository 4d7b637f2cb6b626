"""Clone: rebuild a slave from another node (DESIGN section 7).

    from pfms_ha_tui.operations.clone import Clone, CloneParams

    operation = Clone(context, CloneParams(target="node2", source="node1", master="node1"))
    await engine.run(operation, actor="carol")      # dry_run=True checks everything and changes nothing

The checks (:mod:`preflight`) name every blocker at once and prove by :mod:`proof` which directory on which
host is the target's. The data comes by :mod:`stream`, :mod:`plugin` or :mod:`staged` into a new directory
beside the old datadir, which stays in service meanwhile; :mod:`swapping` exchanges the two, :mod:`joining`
lets the new slave follow, catch up and be compared. Until then everything can be undone: the old data is in
its place again, or still aside. :mod:`scripted` leaves all of it to the site's own script.
"""

from pfms_ha_tui.operations.clone.operation import Clone
from pfms_ha_tui.operations.clone.plan import CloneParams, ClonePlan

__all__ = ["Clone", "CloneParams", "ClonePlan"]
