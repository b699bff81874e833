"""Ratios of speeds, each with both sides named: like against like, and what a user leaves."""

from collections.abc import Callable, Mapping, Sequence

KINDS = {
    "a": "region mode against FuseTS as shipped (what a user switches to, and from)",
    "b": "posterior at given hyperparameters against the same of another library",
    "c": "fit of every pixel and posterior, same model (ours: MAP around the optimum of a sample; "
    "theirs: maximum likelihood from a good start)",
}
R2 = {"r2_random": "20 % hidden", "r2_block": "60 days", "r2_season": "132 days"}


def to_gpy(rows: Sequence[Mapping]) -> list[dict]:
    """The rows with `ratio_to_gpy`: per core, over FuseTS' model and start on GPy.

    Without that peer the rows stay as they are.
    """
    shipped = [row["px_per_core_s"] for row in rows if _is(row, "GPy", "shipped")]
    if not shipped:
        return [dict(row) for row in rows]
    return [{**row, "ratio_to_gpy": row["px_per_core_s"] / shipped[0]} for row in rows]


def between(rows: Sequence[Mapping]) -> list[dict]:
    """Ratios of pixels per core-second: {"kind", "of", "over", "ratio"}, kinds as in `KINDS`."""

    def _ours(mode: str) -> list[Mapping]:
        mine = [r for r in rows if _is(r, "s1jax kalman", mode) and r["dtype"] == "float32"]
        # the default is what a user switches to, but no more than its mode says
        return mine + [r for r in rows if mode == "region" and _is(r, "mogpr default", mode)]

    def _theirs(mode: str) -> list[Mapping]:
        return [r for r in rows if r["name"].startswith("GPy") and r["mode"] == mode]

    def _pairs(kind: str, mine: Sequence, theirs: Sequence, alike: Callable) -> list[dict]:
        return [
            {
                "kind": kind,
                "of": label(own),
                "over": label(other),
                "ratio": own["px_per_core_s"] / other["px_per_core_s"],
            }
            for own in mine
            for other in theirs
            if alike(own, other)
        ]

    def _same(own, other):
        return own["latents"] == other["latents"] and own["name"] != "mogpr default"

    return [
        *_pairs("a", _ours("region"), _theirs("shipped"), lambda own, other: True),
        *_pairs("b", _ours("region"), _theirs("region"), _same),
        *_pairs("c", _ours("pixel"), _theirs("good-start"), _same),
    ]


def label(row: Mapping) -> str:
    """A row in a few words."""
    model = "ICM" if row["latents"] == 1 else f"{row['latents']} latents"
    return f"{row['name']} ({row['mode']}, {model}, {row['dtype']}, {row['device']})"


def sentence(ratio: Mapping) -> str:
    """A ratio with both its sides."""
    return (
        f"({ratio['kind']}) {KINDS[ratio['kind']]}: {ratio['of']} over {ratio['over']}: "
        f"{ratio['ratio']:,.0f} per core"
    )


def verdict(rows: Sequence[Mapping]) -> list[str]:
    """R2 of the default less that of every peer from a good start, on the same pixels, in words."""
    default = [row["paired"] for row in rows if row["name"] == "mogpr default" and "paired" in row]
    out = []
    for row in rows if default else ():
        if row["mode"] != "good-start" or row["name"] != "GPy":
            continue
        both = [key for key in R2 if key in default[0] and key in row["paired"]]
        gaps = ", ".join(f"{R2[k]} {default[0][k] - row['paired'][k]:+.3f}" for k in both)
        out.append(f"R2 of mogpr default less {label(row)}, same pixels: {gaps}")
    return out


def _is(row: Mapping, name: str, mode: str) -> bool:
    return row["name"] == name and row["mode"] == mode
