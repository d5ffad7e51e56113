#!/usr/bin/env python3
"""compare.py LIST SKIPPED REPORT...: what runs of the storage suite did, against the list of what must pass.

REPORT is ginkgo's JSON report of one run. LIST has one spec per line, sorted: those that passed. SKIPPED is written: the specs that a driver like this one does not
run, with the suite's own reason. Exit 1 if a spec failed, or one of LIST did not pass. With BLESS=1 LIST is written, and beside it what was skipped."""
import json, os, sys

kept, skipped, *reports = sys.argv[1:]
try:
    suites = [suite for report in reports for suite in json.load(open(report))]
    specs = [spec for suite in suites for spec in suite["SpecReports"] or [] if spec["LeafNodeType"] == "It"]
except (OSError, ValueError) as error:
    sys.exit(f"suite: no report: {error}")


def name(spec):
    return " ".join(spec["ContainerHierarchyTexts"] + [spec["LeafNodeText"]])


passed = sorted(name(spec) for spec in specs if spec["State"] == "passed")
failed = [spec for spec in specs if spec["State"] not in ("passed", "skipped", "pending")]
reasons = {}
for spec in specs:
    if spec["State"] == "skipped" and "Failure" in spec:
        message = spec["Failure"].get("Message", "").strip().split("\n")[0]
        if message:
            reasons[name(spec)] = message
lists = [skipped]
if os.environ.get("BLESS"):
    lists.append(kept.removesuffix(".specs") + ".skipped")
for path in lists:
    with open(path, "w") as out:
        out.writelines(f"{spec}: {reason}\n" for spec, reason in sorted(reasons.items()))
if os.environ.get("BLESS"):
    with open(kept, "w") as out:
        out.writelines(line + "\n" for line in passed)
wanted = [line.strip() for line in open(kept)] if os.path.exists(kept) else []
missing = sorted(set(wanted) - set(passed))
for spec in failed:
    message = spec.get("Failure", {}).get("Message", "").strip().replace("\n", " ")
    print(f"FAIL {name(spec)}: {message[:600]}")
for spec in missing:
    print(f"not run, or not passed: {spec}: {reasons.get(spec, 'see above')}")
fresh = sorted(set(passed) - set(wanted))
for spec in fresh:
    print(f"passes, but is not in {os.path.basename(kept)}: {spec}")
print(f"suite: {len(passed)} passed ({len(wanted)} wanted), {len(failed)} failed, {len(reasons)} skipped by themselves")
sys.exit(1 if failed or missing or not wanted else 0)
