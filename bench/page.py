# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
"""The results of `make bench` as docs/performance.md, CSV and a plot.

    bench/page.py RESULTS.json DOCS-FOLDER [--no-plot]

What stands in the page between the two marks is written anew; the rest is
people's.
"""
import csv
import json
import statistics
import sys
from pathlib import Path

BEGIN = "<!-- written by make bench -->"
END = "<!-- end of what make bench writes -->"


def number(value, unit=""):
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else \
        2 if abs(value) >= 0.1 else 3
    return f"{value:.{digits}f}" + (f" {unit}" if unit else "")


def bound(case):
    if case["least"] is not None:
        return f"at least {number(case['least'], case['unit'])}"
    if case["most"] is not None:
        return f"at most {number(case['most'], case['unit'])}"
    return ""


def is_reached(case):
    middle = statistics.median(case["samples"])
    return (case["least"] is None or middle >= case["least"]) and \
        (case["most"] is None or middle <= case["most"])


def target_rows(cases):
    yield "| case | target | measured | |"
    yield "|---|---|---|---|"
    for case in cases:
        if case["target"] is None:
            continue
        if not case["samples"]:
            yield f"| {case['name']} | {bound(case)} | not measured | " \
                f"{case['error'] or ''} |"
            continue
        middle = number(statistics.median(case["samples"]), case["unit"])
        yield f"| {case['name']} | {bound(case)} | {middle} | " \
            f"{'reached' if is_reached(case) else '**missed**'} |"


def all_rows(cases):
    yield "| case | median | least | most | rounds |"
    yield "|---|---|---|---|---|"
    for case in cases:
        samples = case["samples"]
        if not samples:
            yield f"| {case['name']} | {case['error']} | | | 0 |"
            continue
        yield f"| {case['name']} | " \
            f"{number(statistics.median(samples), case['unit'])} | " \
            f"{number(min(samples))} | {number(max(samples))} | " \
            f"{len(samples)} |"


def predictions(cases):
    """Of each case the median counts, as everywhere; single moves are told,
    too."""
    cases = [c["samples"] for c in cases
             if c["group"] == "prediction" and c["samples"]]
    if not cases:
        return
    middles = [statistics.median(samples) for samples in cases]
    errors = [e for samples in cases for e in samples]
    yield f"Over the {len(cases)} cases that were predicted the median error " \
        f"is {statistics.median(map(abs, middles)):.0f} % (target: at " \
        f"most 10 %), and the prediction was at most " \
        f"{max(0, -min(middles)):.0f} % under what it was (target: " \
        f"20 %).  A single move is another matter: of all {len(errors)} in " \
        f"them the median error is {statistics.median(map(abs, errors)):.0f} " \
        f"%, and {sum(e < -20 for e in errors)} were more than 20 % under, " \
        f"by {max(0, -min(errors)):.0f} % the worst.  Zero in the table is " \
        "a prediction that was right."
    yield ""


def causes(cases):
    """What limits a case that has missed its target."""
    for case in cases:
        if case["target"] is None or not case["samples"] or is_reached(case):
            continue
        spent = case["spent"]
        total = sum(spent.values()) or 1
        parts = ", ".join(f"{name} {100 * ns / total:.0f} %" for name, ns in
                          sorted(spent.items(), key=lambda i: -i[1]) if
                          ns > total / 100)
        yield f"* {case['name']}: {number(statistics.median(case['samples']))}" \
            f" instead of {bound(case)}." + \
            (f"  Its downtime went to: {parts}." if parts else "")


def text(results):
    cases = results["cases"]
    missed = list(causes(cases))
    yield BEGIN
    yield ""
    if results["quick"]:
        yield "This was a small run (`--quick --page`): the sizes are not those " \
            "of the targets."
        yield ""
    if results.get("only"):
        yield "Only a part of the cases was run (`--only`): those that have " + \
            " or ".join(f"*{word}*" for word in results["only"]) + \
            " in their names."
        yield ""
    yield f"{results['rounds']} rounds, every case once in each; medians.  " \
        f"{results['processors']} processors; load at the start " \
        f"{results['load']:.1f}" + (
            ": this machine did other things as well, so that only ratios "
            "mean anything." if results["load"] > 1 else ".")
    yield ""
    yield from target_rows(cases)
    yield ""
    if missed:
        yield "What has missed its target, and where the time went:"
        yield ""
        yield from missed
        yield ""
    yield "## All cases"
    yield ""
    yield "Ratios where there is no unit.  The samples are in " \
        "[performance.csv](performance.csv)."
    yield ""
    yield from all_rows(cases)
    yield ""
    yield from predictions(cases)
    if results.get("plot", True):
        yield "![the cases](performance.svg)"
        yield ""
    yield END


def write_page(path, results):
    page = path.read_text(encoding="utf-8")
    before, begin, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    if not begin:
        sys.exit(f"{path}: there is no place for what was measured")
    path.write_text(before + "\n".join(text(results)) + after,
                    encoding="utf-8")


def write_csv(path, results):
    with path.open("w", newline="", encoding="utf-8") as f:
        out = csv.writer(f, lineterminator="\n")
        out.writerow(["case", "unit", "round", "value"])
        for case in results["cases"]:
            for n, value in enumerate(case["samples"]):
                out.writerow([case["name"], case["unit"], n, f"{value:.6g}"])


def labels(cases, group):
    found = [c for c in cases if c["group"] == group and c["samples"]]
    return found, [statistics.median(c["samples"]) for c in found]


def draw_line(axes, cases, group, by, **options):
    """The medians of a group's cases over what differs between them."""
    found, values = labels(cases, group)
    axes.plot([c[by] / (2**20 if by == "size" else 1) for c in found], values,
              marker="o", **options)


def draw_relay(axes, cases):
    bars = []
    for chunk in "32 KiB", "1 MiB":
        found, values = labels(cases, f"relay {chunk}")
        bars += [(("descriptor" if "descriptor" in c["name"] else "messages") +
                  f"\nvs. {chunk}", value) for c, value in zip(found, values)]
    axes.bar([name for name, _ in bars], [value for _, value in bars])
    axes.set(title="relay", ylabel="rate over one request's")
    axes.tick_params(axis="x", labelsize=7)


def draw_predictions(axes, cases):
    found = labels(cases, "prediction")[0]
    axes.boxplot([c["samples"] for c in found], vert=False,
                 labels=[c["name"].partition(":")[0] for c in found])
    for edge in -20, 0:
        axes.axvline(edge, color="grey", linestyle=":")
    axes.set(title="prediction", xlabel="predicted over actual, %",
             xlim=(-100, 200))
    axes.tick_params(axis="y", labelsize=7)


def draw_all(axes, cases):
    floor, qemu, devices, channels, relay, predicted = axes.flat
    for link in "unix", "tcp":
        draw_line(floor, cases, f"floor {link}", "size", label=link)
    floor.axhline(0.9, color="grey", linestyle=":")
    floor.set(title="floor", xscale="log", ylim=0, xlabel="MiB of state",
              ylabel="rate over the floor's")
    floor.legend()
    draw_line(qemu, cases, "qemu", "size")
    qemu.axhline(0.5, color="grey", linestyle=":")
    qemu.set(title="QEMU", xscale="log", ylim=0, xlabel="MiB of state",
             ylabel="downtime over QEMU's")
    draw_line(devices, cases, "several", "devices")
    devices.axhline(1, color="grey", linestyle=":")
    devices.set(title="devices", xscale="log", xlabel="slow devices",
                ylabel="downtime over one's", ylim=0)
    draw_line(channels, cases, "channels", "devices")
    channels.axhline(1, color="grey", linestyle=":")
    channels.set(title="channels", xlabel="channels over TCP", ylim=0,
                 ylabel="rate over the floor's")
    draw_relay(relay, cases)
    draw_predictions(predicted, cases)


def draw(folder, results):
    import matplotlib
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "vfmig"
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(2, 3, figsize=(13, 8))
    draw_all(axes, results["cases"])
    figure.tight_layout()
    for kind in "png", "svg":
        figure.savefig(folder / f"performance.{kind}", dpi=80,
                       metadata={"Date": None} if kind == "svg" else None)


def main():
    results = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    folder = Path(sys.argv[2])
    results["plot"] = "--no-plot" not in sys.argv
    write_csv(folder / "performance.csv", results)
    write_page(folder / "performance.md", results)
    if results["plot"]:
        draw(folder, results)


if __name__ == "__main__":
    main()
