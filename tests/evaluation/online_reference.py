"""The online metrics again, gap by gap in plain Python, from docs/online.md and with no code of the project."""

from collections import defaultdict
from statistics import quantiles

ACCEPTED = ("accepted", "accepted_then_edited", "accepted_then_removed", "partially_accepted")
SECONDS = (0, 30, 120, 300, 600, 900)
COLUMNS = ("model", "language", "cohort")


def units(text):
    return len(text.encode("utf-16-le")) // 2


def in_order(gaps):
    return sorted(gaps, key=lambda gap: (gap["opened_at"], gap["gap_id"]))


def proposals(gaps):
    """Return the gaps of each user's proposals: shown again, under whatever id, it is one proposal."""
    chains = defaultdict(list)
    for gap in in_order(gaps):
        chains[gap["user_id"], gap["reshown_of"] or gap["gap_id"]].append(gap)
    named = defaultdict(list)
    for (user, _), chain in chains.items():
        named[user, chain[0]["completion_id"]] += chain
    return [in_order(showings) for showings in named.values()]


def facts(showings):
    """Return what is counted of one proposal."""
    taken = [gap for gap in showings if gap["outcome"] in ACCEPTED]
    proposed = max(units(gap["proposal"]) for gap in showings)
    accepted = min(sum(gap["accepted_chars"] for gap in taken), proposed)
    kept = [gap["kept_rate"] for gap in taken if gap["kept_rate"] is not None]
    found = {
        "n_shown": 1,
        "n_superseded": all(gap["outcome"] == "superseded" for gap in showings),
        "n_dismissed": any(gap["outcome"] == "rejected" for gap in showings),
        "n_accepted": bool(taken),
        "n_typed_through": not taken and any(gap["outcome"] == "typed_through" for gap in showings),
        "proposed_chars": proposed,
        "accepted_chars": accepted,
        "tracked_chars": accepted if all(gap["typed_chars"] is not None for gap in showings) else 0,
        "n_kept": bool(kept),
        "kept_rates": max(kept, default=0),
    }
    for seconds in SECONDS:
        told = [gap[f"retained_{seconds}s"] for gap in showings]
        left = [chars for chars in told if chars is not None]
        if left and len(left) == len(taken):
            found[f"retained_{seconds}s_chars"] = min(sum(left), max(*left, proposed))
            found[f"watched_{seconds}s_chars"] = accepted
    return found


def typed(gaps):
    """Return (first gap, characters) of each region: nested gaps see the same key strokes."""
    regions = defaultdict(list)
    for gap in in_order(gaps):
        regions[gap["user_id"], gap["region_id"] or gap["gap_id"]].append(gap)
    for region in regions.values():
        seen = [gap["typed_chars"] for gap in region]
        yield region[0], 0 if None in seen else max(seen)


def shadowed(counts, least):
    """Return (user, model) pairs of users who do not see what is shown."""
    by_user, accepting = defaultdict(lambda: defaultdict(int)), defaultdict(lambda: defaultdict(int))
    for user, first, found in counts:
        for name, count in found.items():
            by_user[user][name] += count
        accepting[first["model"]][user] += found.get("n_accepted", 0)
    hidden = set()
    for model, users in accepting.items():
        is_accepted = 2 * sum(n > 0 for n in users.values()) > len(users)
        for user in users:
            told = by_user[user]
            is_idle = not told["n_accepted"] and not told["n_dismissed"]
            if is_accepted and is_idle and told["n_shown"] - told["n_superseded"] >= least:
                hidden.add((user, model))
    return hidden


def measure(gaps, by=COLUMNS, least=25):
    """Return {group: what is measured of it} of the gaps of one day; nothing is suppressed."""
    counts = [(showings[0]["user_id"], showings[0], facts(showings)) for showings in proposals(gaps)]
    counts += [(first["user_id"], first, {"typed_chars": chars}) for first, chars in typed(gaps)]
    hidden = shadowed(counts, least)
    groups = defaultdict(lambda: (defaultdict(float), defaultdict(int), set(), []))
    for user, first, found in counts:
        sums, _, shadows, waits = groups[tuple(first[name] for name in by)]
        if found.get("n_shown") and first["latency_ms"] is not None:
            waits.append(first["latency_ms"])
        if (user, first["model"]) in hidden:
            if found.get("n_shown"):
                shadows.add(user)
            continue
        for name, count in found.items():
            sums[name] += count
        if found.get("n_shown"):
            groups[tuple(first[name] for name in by)][1][user] += 1
    return {
        group: rates(sums) | {"n_users": len(users), "n_shadowed_users": len(shadows)} | latency(waits)
        for group, (sums, users, shadows, waits) in groups.items()
    }


def rates(sums):
    def share(above, *below):
        total = sum(sums[name] for name in below)
        return sums[above] / total if total else None

    return {
        "n_shown": sums["n_shown"],
        "n_superseded": sums["n_superseded"],
        "n_accepted": sums["n_accepted"],
        "acceptance_rate": share("n_accepted", "n_shown"),
        "weighted_acceptance_rate": share("accepted_chars", "proposed_chars"),
        "generation_rate": share("tracked_chars", "tracked_chars", "typed_chars"),
        "kept_rate": share("kept_rates", "n_kept"),
        "typed_through_share": share("n_typed_through", "n_shown"),
        **{f"retained_{s}s_share": share(f"retained_{s}s_chars", f"watched_{s}s_chars") for s in SECONDS},
    }


def latency(waits):
    if len(waits) < 2:
        return dict.fromkeys(("latency_p50_ms", "latency_p95_ms"), waits[0] if waits else None)
    cuts = quantiles(waits, n=20, method="inclusive")
    return {"latency_p50_ms": cuts[9], "latency_p95_ms": cuts[18]}
