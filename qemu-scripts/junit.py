"""JUnit's XML of a run of tests: a suite per stage, a case per test.

It uses only the elements of Jenkins' schema, which every CI server reads.
"""

import pathlib
import re
from xml.sax.saxutils import escape, quoteattr

# XML 1.0 cannot represent these, not even escaped.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")


def _attribute(text):
    return quoteattr(_FORBIDDEN.sub("?", text))


def _case(case):
    head = f'    <testcase classname={_attribute(case.stage)} name={_attribute(case.name)} time="{case.seconds or 0:.3f}"'
    if case.outcome == "failed":
        evidence = escape(_FORBIDDEN.sub("?", case.evidence))
        return f"{head}>\n      <failure message={_attribute(case.reason)}>{evidence}</failure>\n    </testcase>"
    if case.outcome == "skipped":
        return f"{head}>\n      <skipped message={_attribute(case.reason)}/>\n    </testcase>"
    if case.outcome == "expected":
        story = escape(_FORBIDDEN.sub("?", f"expected failure: {case.reason}"))
        return f"{head}>\n      <system-out>{story}</system-out>\n    </testcase>"
    return f"{head}/>"


def render(stages):
    """The text for {stage: (tally, seconds)}."""
    suites = []
    for name, (tally, seconds) in stages.items():
        cases = "".join(f"{_case(case)}\n" for case in tally.cases)
        suites.append(f'  <testsuite name={_attribute(name)} tests="{tally.total()}" failures="{tally.failed}" errors="0" '
                      f'skipped="{tally.skipped}" time="{seconds:.3f}">\n{cases}  </testsuite>\n')
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n{"".join(suites)}</testsuites>\n'


def write(path, stages):
    """Writes the file; an OSError is the caller's."""
    pathlib.Path(path).write_text(render(stages), encoding="utf-8")
