"""Break policies: when a gap ends. A policy is one named, frozen object; to add one, add it to `PRESETS`.

What does not live here: geometry (`geometry.py`) and the loop that applies a policy (`stream.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

#: A gap that closes on day D must have opened on D-1 or D, and so must every gap that was open when it did:
#: that is why one day can be extracted from two, and why days can be extracted in parallel.
MAX_LIFETIME_S = 12 * 3600.0


@dataclass(frozen=True)
class Policy:
    """When a gap ends. Times are seconds, distances UTF-16 code units.

    Attributes:
        name: what the configuration calls it.
        idle_s: the gap ends once nothing was edited inside it for this long,
        settle_s: but not before it has been open for this long.
        lifetime_s: the gap ends at this age, whatever happens. At most twelve hours.
        cursor_jump: the gap ends when, once settled, the cursor goes to a line outside it,
        cursor_grace_s: unless an edit came at most this long before: editors move the cursor as they edit.
        breaks_on_edit_elsewhere: the gap ends when the user edits the document outside it. Otherwise such an
            edit shifts it.
        automatic_reasons: reasons of edits that no user makes by hand. Outside the gap they shift it.
        far_units: a snippet is automatic only at this distance from the gap or further.
        max_final_units: the gap ends before an edit that makes its text longer than this.

    Raises:
        ValueError: a value that cannot work, with what was expected.
    """

    name: str
    idle_s: float
    lifetime_s: float
    settle_s: float = 0.0
    cursor_jump: bool = False
    cursor_grace_s: float = 0.2
    breaks_on_edit_elsewhere: bool = True
    automatic_reasons: frozenset[str] = frozenset({"format", "auto_import", "snippet"})
    far_units: int = 1_000
    max_final_units: int = 10_000

    def __post_init__(self) -> None:
        if not 0 < self.lifetime_s <= MAX_LIFETIME_S:
            raise ValueError(
                f"policy {self.name}: lifetime_s is {self.lifetime_s}, expected more than 0 and at most "
                f"{MAX_LIFETIME_S:.0f} (a gap may cross one midnight, not two)"
            )
        if self.idle_s <= 0:
            raise ValueError(f"policy {self.name}: idle_s is {self.idle_s}, expected more than 0")
        for field in ("settle_s", "cursor_grace_s", "far_units"):
            if getattr(self, field) < 0:
                raise ValueError(f"policy {self.name}: {field} is {getattr(self, field)}, expected 0 or more")
        if self.max_final_units < 1:
            raise ValueError(
                f"policy {self.name}: max_final_units is {self.max_final_units}, expected 1 or more"
            )


PRESETS: dict[str, Policy] = {
    policy.name: policy
    for policy in (
        # Echo's own: the user's next five minutes at this place, until they go on to other code.
        Policy("echo", idle_s=300, lifetime_s=900),
        # Zed settles an edit prediction after ten quiet seconds in its region and drops it at five minutes.
        Policy("zed", idle_s=10, lifetime_s=300, breaks_on_edit_elsewhere=False),
        # Copilot's next-edit pipeline: two minutes, then the first of 5 quiet seconds, a jump, or 30 seconds.
        Policy(
            "copilot_nes",
            idle_s=5,
            settle_s=120,
            lifetime_s=150,
            cursor_jump=True,
            breaks_on_edit_elsewhere=False,
        ),
    )
}
