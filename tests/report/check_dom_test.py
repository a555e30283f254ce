#!/usr/bin/env python3
"""check_dom.py must find faults: every line below is a good page with one of them."""
import sys

import check_dom

PAGE = """<!DOCTYPE html>
<html lang="en"><head><title>t</title><style>b{color:red}</style></head><body>
<figure id="f1" data-figure="table" data-points="2"><figcaption>a &amp; b</figcaption>
<table><tbody><tr><td>1</td><td>2</td></tr></tbody></table></figure>
<script type="application/json" class="data">{"a":1}</script></body></html>
"""
PLANTS = [  # what is replaced, by what, and a word of what is said then
    ("a &amp; b", "a & b", "unescaped text"),
    ("</td></tr>", "</tr>", "is open"),
    ("<td>1", "<blink>1", "no business"),
    ("<td>1", "<td onclick=\"x()\">1", "onclick"),
    ("<td>1", "<td title=\"a & b\">1", "unescaped attribute"),
    ("<td>1", "<td id=\"f1\">1", "twice"),
    ("<td>1", "<td role=\"img\">1", "aria-label"),
    ("<td>1", "<td><img alt=\"\" src=\"a.png\">1", "leads out"),
    ("<td>1", "<td><img src=\"data:,\">1", "no alt"),
    ("<td>1", "<td><a href=\"https://example.org\">x</a>1", "leads out"),
    ("<td>1", "<td><a href=\"#nowhere\">x</a>1", "leads nowhere"),
    ("color:red", "background:url(a.png)", "style leads out"),
    ("{\"a\":1}", "{\"a\":NO}", "no JSON"),
    ("data-points=\"2\"", "data-points=\"0\"", "data-empty"),
    ("data-points=\"2\"", "data-points=\"two\"", "data-points is"),
    ("data-figure=\"table\"", "data-figure=\"line-chart\"", "shows no path stroke"),
    ("data-figure=\"table\"", "data-figure=\"sculpture\"", "data-figure is"),
    ("a &amp; b", "", "no caption"),
    (" lang=\"en\"", "", "no lang"),
    ("<!DOCTYPE html>\n", "", "doctype"),
]


def main():
    _, faults = check_dom.check(PAGE, ["table"])
    wrong = [f"the good page: {fault}" for fault in faults]
    for old, new, said in PLANTS:
        assert old in PAGE
        _, faults = check_dom.check(PAGE.replace(old, new, 1))
        if not any(said in fault for fault in faults):
            wrong.append(f"{old} -> {new}: nothing about '{said}' in {faults}")
    if not check_dom.check(PAGE, ["heat-map"])[1]:
        wrong.append("a kind that is not there")
    print("\n".join(wrong) or f"{len(PLANTS) + 1} faults, all found")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
