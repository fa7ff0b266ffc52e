"""What two texts have in common. What does not live here: offsets in an editor's units (`utf16.py`)."""


def shared_head(one: str, other: str) -> int:
    """Return how many characters two texts begin with alike, by halving: slices compare at memory speed."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
