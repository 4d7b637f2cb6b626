"""What a report calls the rows that stay out."""

from __future__ import annotations

import pytest

from pfms_ha_tui.operations.merge.inventory import Owner, Unknown, Why
from pfms_ha_tui.operations.merge.report import unknown_text


@pytest.mark.parametrize(
    ("why", "other", "text"),
    [
        (Why.MISSING, "", "module 7 “CPU <load>” of web & co does not exist on the master"),
        (
            Why.DELETED,
            "Disk of db",
            "module 7 was deleted on the losing side; on the master it is “Disk of db”",
        ),
        (Why.DELETED, "", "module 7 does not exist on either side"),
    ],
)
def test_which_side_lacks_an_owner_is_said(why: Why, other: str, text: str) -> None:
    name, agent = ("CPU &lt;load&gt;", "web &amp; co") if why is Why.MISSING else ("", "")
    unknown = Unknown(owner=Owner.MODULE, id=7, why=why, name=name, agent=agent, other=other)
    assert unknown_text(unknown) == text
