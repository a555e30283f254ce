#!/usr/bin/env python3
"""Checks reports: check_dom.py FILE.. [--need KIND,..]

A page must be well-formed, stand alone (nothing from the network, nothing from another file), keep its ids apart, and
every figure must hold what its kind shows, unless it says that it is empty. With --need, each page must hold a figure
with data of every kind named. Exit code: 0, or 1 with a line for every fault.
"""
import json
import re
import sys
from html.parser import HTMLParser

VOID = {"br", "hr", "img", "input", "link", "meta"}
HTML = VOID | set("""html head title style script body div header main nav section footer h1 h2 p dl dt dd code button a ul
li small figure figcaption span i b u s em table thead tbody tr th td details summary""".split())
SVG = set("""svg g defs marker path rect line circle ellipse polygon polyline text tspan title desc style use symbol
clippath lineargradient stop""".split())
REFERENCES = {"src", "href", "xlink:href", "action", "data", "poster", "srcset"}
# What a figure of each kind shows: an element and a class of it.
SHOWS = {"line-chart": ("path", "stroke"), "heat-map": ("img", "cells"), "depth-map": ("img", "cells"),
         "routed-text": ("b", ""), "routed-images": ("div", "pic"), "table": ("td", ""), "drawing": ("svg", "")}
# A bar chart is drawn in one of two ways.
BARS = (("path", "fill"), ("div", "hbar"))


class Figure:
    def __init__(self, attributes):
        self.attributes = attributes
        self.kind = attributes.get("data-figure", "")
        self.empty = attributes.get("data-empty") == "true"
        self.seen = set()
        self.caption = ""

    def name(self):
        return f"{self.attributes.get('id', 'a figure')} ({self.kind}, '{self.caption[:40]}')"

    def faults(self):
        if self.kind not in SHOWS and self.kind != "bar-chart":
            yield f"data-figure is '{self.kind}'"
            return
        points = self.attributes.get("data-points", "")
        if not re.fullmatch(r"\d+", points):
            yield f"data-points is '{points}'"
        elif (int(points) == 0) != self.empty:
            yield f"data-points is {points}, but data-empty is {self.empty}"
        shows = BARS if self.kind == "bar-chart" else (SHOWS[self.kind],)
        if not self.empty and not any(s in self.seen for s in shows):
            yield f"shows no {' or '.join(' '.join(s).strip() for s in shows)}"
        if not self.caption.strip():
            yield "has no caption"


class Page(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=False)
        self.open, self.ids, self.figures, self.found = [], set(), [], []
        self.root, self.title, self.raw = {}, "", ""
        self.links = []

    def fault(self, text):
        line, column = self.getpos()
        self.found.append(f"line {line}, column {column}: {text}")

    def figure(self):
        return self.figures[-1] if "figure" in self.open else None

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.check_tag(tag, attrs)
        if tag == "html":
            self.root = attributes
        if tag == "figure":
            self.figures.append(Figure(attributes))
        self.raw = ""
        if tag not in VOID:
            self.open.append(tag)
        if self.figure():
            for name in [""] + (attributes.get("class") or "").split():
                if tag != "path" or attributes.get("d"):
                    self.figure().seen.add((tag, name))

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def check_tag(self, tag, attrs):
        attributes = dict(attrs)
        known = SVG if "svg" in self.open or tag == "svg" else HTML
        if tag not in known:
            self.fault(f"<{tag}> has no business here")
        if len(attributes) != len(attrs):
            self.fault(f"<{tag}> has an attribute twice")
        text = self.get_starttag_text() or ""
        if "<" in text[1:] or re.search(r"&(?!(#\d+|#x[0-9a-fA-F]+|\w+);)", text):
            self.fault(f"an unescaped attribute in {text[:80]}")
        if "id" in attributes:
            if attributes["id"] in self.ids:
                self.fault(f"the id {attributes['id']} is there twice")
            self.ids.add(attributes["id"])
        self.check_values(tag, attributes)

    def check_values(self, tag, attributes):
        for name, value in attributes.items():
            value = value or ""
            if name.startswith("on"):
                self.fault(f"<{tag}> has {name}")
            if name in REFERENCES and not re.match(r"data:|#", value):
                self.fault(f"<{tag}> leads out: {name}={value[:60]}")
            if name == "style":
                self.check_style(value)
        if (attributes.get("href") or "").startswith("#"):
            self.links.append(attributes["href"][1:])
        if attributes.get("role") == "img" and not attributes.get("aria-label"):
            self.fault(f"<{tag} role=img> has no aria-label")
        if tag == "img" and "alt" not in attributes:
            self.fault("<img> has no alt")

    def check_style(self, css):
        if re.search(r"@import|url\(\s*['\"]?(?!['\"]?(#|data:))", css):
            self.fault(f"a style leads out: {css[:60]}")

    def handle_endtag(self, tag):
        if not self.open or self.open[-1] != tag:
            self.fault(f"</{tag}> where {self.open[-1:] or 'nothing'} is open")
            return
        if tag == "script" and self.raw_data:
            self.check_data()
        self.open.pop()

    @property
    def raw_data(self):
        return self.raw.lstrip().startswith("{")

    def check_data(self):
        try:
            json.loads(self.raw)
        except ValueError as error:
            self.fault(f"data that is no JSON: {error}")

    def handle_data(self, data):
        inside = self.open[-1] if self.open else ""
        self.raw += data
        if inside == "style":
            self.check_style(data)
        elif inside == "script":
            if re.search(r"https?://(?!www\.w3\.org/)", data):
                self.fault("a script names an address")
        elif "<" in data or "&" in data:
            self.fault(f"unescaped text: {data[:60]!r}")
        if inside == "title" and "svg" not in self.open:
            self.title += data
        if inside == "figcaption" and self.figure():
            self.figure().caption += data

    def handle_entityref(self, name):
        if "figcaption" in self.open and self.figure():
            self.figure().caption += "&" + name

    def handle_charref(self, name):
        self.handle_entityref(name)


def read(text):
    """The page of `text`, and everything wrong with it."""
    page = Page()
    page.feed(text)
    page.close()
    faults = list(page.found)
    if not text.lower().startswith("<!doctype html>"):
        faults.append("there is no doctype")
    if page.open:
        faults.append(f"not closed: {page.open}")
    if not page.root.get("lang"):
        faults.append("<html> has no lang")
    for link in page.links:
        if link not in page.ids:
            faults.append(f"#{link} leads nowhere")
    for figure in page.figures:
        faults += [f"{figure.name()}: {fault}" for fault in figure.faults()]
    return page, faults


def check(text, need=()):
    page, faults = read(text)
    kinds = {figure.kind for figure in page.figures if not figure.empty}
    faults += [f"there is no {kind} with data" for kind in need if kind not in kinds]
    if not page.figures:
        faults.append("there is no figure")
    return page, faults


def main(arguments):
    need = []
    if "--need" in arguments:
        at = arguments.index("--need")
        need = arguments[at + 1].split(",")
        del arguments[at:at + 2]
    if not arguments:
        sys.exit(__doc__)
    wrong = 0
    for path in arguments:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        page, faults = check(text, need)
        wrong += len(faults)
        for fault in faults:
            print(f"{path}: {fault}")
        shown = sum(not figure.empty for figure in page.figures)
        print(f"{path}: {len(text.encode()) / 1e6:.2f} MB, {len(page.figures)} figures, {shown} with data, "
              f"{len(faults)} faults")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
