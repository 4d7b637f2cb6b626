"""The merge of what the losing side of a split-brain wrote into the master (DESIGN section 8).

=================  ==================================================================================
:mod:`.window`     which seconds; how people write them; what is proposed (pure)
:mod:`.evidence`   who lost, and the warning against the wrong direction (pure)
:mod:`.tables`     what is merged and how; whether both sides' tables fit (pure)
:mod:`.literals`   rows as exact SQL literals: key, archive and statement in one
:mod:`.reading`    rows of one table, slice by slice along the time index
:mod:`.inventory`  whose rows may be merged: modules and agents that are the same on both sides
:mod:`.compare`    the difference of two multisets, in bounded memory; :mod:`.families` events with comments
:mod:`.plan`       the dry run; :mod:`.configuration` what is not brought over
:mod:`.archive`    everything saved first; :mod:`.container` the file it is in
:mod:`.apply`      adding, exactly once; :mod:`.batches` :mod:`.throttle` :mod:`.ledger`
:mod:`.verify`     the proof; :mod:`.undo` taking it back
:mod:`.merging`    all of it as blocking calls; :mod:`.facts` what the wizard begins with
:mod:`.operation`  the operation of the step engine; :mod:`.report` its sentences
=================  ==================================================================================
"""
