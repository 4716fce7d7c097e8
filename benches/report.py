"""Prints what was measured: medians, extremes, memory, and ratios to the first contender of a case.

usage: report.py text|markdown MACHINE RESULTS [FILE]

RESULTS has tabs between `CASE title TEXT`, `CASE note TEXT` and
`CASE run CONTENDER ROUND MICROSECONDS CPU_SECONDS KIB SYNCS`. With FILE, the tables go between its marks, in
place of those that are there of the same cases; others stay, each with the date of its own run.
"""

import re
import statistics
import sys

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
HEADING = ("contender", "median s", "min", "max", "× ours", "CPU s", "peak MB", "syncs")


def read(path):
    cases = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            name, kind, *rest = line.rstrip("\n").split("\t")
            case = cases.setdefault(name, {"title": name, "notes": [], "runs": {}, "syncs": {}})
            if kind == "title":
                case["title"] = rest[0]
            elif kind == "note" and rest[0] not in case["notes"]:
                case["notes"].append(rest[0])
            elif kind == "run":
                contender, number, micros, cpu, kib, syncs = rest
                if int(number) == 0:
                    case["syncs"][contender] = syncs
                    case["runs"].setdefault(contender, [])
                else:
                    case["runs"].setdefault(contender, []).append((int(micros) / 1e6, float(cpu), int(kib) * 1.024 / 1000))
    return cases


def rows(case):
    ours = None
    for contender, runs in case["runs"].items():
        if not runs:
            continue
        seconds = [run[0] for run in runs]
        median = statistics.median(seconds)
        ours = ours or median
        yield (
            contender,
            f"{median:.3f}",
            f"{min(seconds):.3f}",
            f"{max(seconds):.3f}",
            f"{median / ours:.2f}",
            f"{statistics.median(run[1] for run in runs):.2f}",
            f"{max(run[2] for run in runs):.0f}",
            case["syncs"].get(contender, ""),
        )


def text(machine, cases):
    yield from machine
    for name, case in cases.items():
        yield from ("", f"{name}: {case['title']}")
        table = [HEADING, *rows(case)]
        widths = [max(len(row[column]) for row in table) for column in range(len(HEADING))]
        for row in table:
            cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))]
            yield "  " + "  ".join(cells)
        yield from (f"  note: {note}" for note in case["notes"])


def markdown(machine, cases):
    yield from ("| | |", "|---|---|")
    yield from (f"| {line.replace(': ', ' | ', 1)} |" for line in machine)
    facts = dict(line.split(": ", 1) for line in machine)
    for name, case in cases.items():
        yield from ("", f"### {case['title']}", "")
        yield from (f"`benches/run {name}` ({facts['date']}, rounds: {facts['rounds']})", "")
        yield "| " + " | ".join(HEADING) + " |"
        yield "|---" + "|--:" * (len(HEADING) - 1) + "|"
        for row in rows(case):
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
        if case["notes"]:
            yield ""
            yield from (f"- {note}" for note in case["notes"])


def merged(before, now):
    """Returns the tables `now`, and those of `before` that are of other cases."""
    [_, *old], [machine, *new] = sections(before), sections(now)
    fresh = {case_of(section): section for section in new}
    kept = [fresh.pop(case_of(section), section) for section in old]
    return "\n\n".join([machine, *kept, *fresh.values()])


def sections(text):
    return [part.strip() for part in re.split("^(?=### )", text, flags=re.MULTILINE)]


def case_of(section):
    return re.search("^`benches/run ([^ `]+)", section, flags=re.MULTILINE)[1]


def main():
    style, machine, results = sys.argv[1:4]
    with open(machine, encoding="utf-8") as lines:
        machine = lines.read().splitlines()
    report = "\n".join({"text": text, "markdown": markdown}[style](machine, read(results)))
    if len(sys.argv) == 4:
        print(report)
        return
    with open(sys.argv[4], encoding="utf-8") as page:
        before, rest = page.read().split(BEGIN)
    figures, after = rest.split(END)
    with open(sys.argv[4], "w", encoding="utf-8") as page:
        page.write(f"{before}{BEGIN}\n{merged(figures, report)}\n\n{END}{after}")


main()
