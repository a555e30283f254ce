#!/usr/bin/env python3
"""Looks at reports in a real browser: browser.py FILE.. [--out FOLDER] [--only light|dark]

Every page is opened in a headless Chromium, light and dark, as narrow as a phone and as wide as a screen, and told to
check itself ("#check"): all buttons are pressed, the pointer visits every figure. Faults are whatever reaches the
console, a figure that is wider than its place, labels of an axis that overlap, a figure that says nothing under the
pointer, and what check_dom.py finds in the page as the browser built it. With --out, pictures of the whole pages are
kept. Exit code: 0; 1 with a line for every fault; without a Chromium it prints NOT RUN.
"""
import html
import os
import re
import shutil
import subprocess
import sys
import tempfile

import check_dom

WIDTHS = (380, 1600)
THEMES = {"light": 1, "dark": 0}  # what Chromium calls them
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SPEAKING = {"line-chart", "heat-map", "depth-map", "routed-text"}  # all of them answer the pointer
TALLEST = 16000  # of a picture that Chromium takes


# A window is at least 500 wide, a frame may be as narrow as a phone. It hands its page over as text.
FRAME = """<!DOCTYPE html><body><iframe style="border:0" width="%d" height="1000" src="%s"></iframe><pre></pre><script>
const until = Date.now() + %d;
const hand = () => {
  const page = document.querySelector('iframe').contentDocument;
  if (!(page && page.documentElement.dataset.checked) && Date.now() < until) return setTimeout(hand, 50);
  document.querySelector('pre').textContent = '<!DOCTYPE html>' + page.documentElement.outerHTML;
};
onload = hand;
</script></body>"""


def run(browser, profile, theme, size, options, address, budget=3000):
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
               f"--user-data-dir={profile}", f"--blink-settings=preferredColorScheme={THEMES[theme]}",
               "--window-size=%d,%d" % size, f"--virtual-time-budget={budget}", "--enable-logging=stderr", "--v=0",
               "--allow-file-access-from-files",
               *options, address]
    return subprocess.run(command, capture_output=True, timeout=120, check=False)


def console(stderr):
    """What the page wrote to the console, errors of its script included."""
    text = stderr.decode("utf-8", "replace")
    return re.findall(r"CONSOLE[^\]]*\] (.*)", text)


def built(browser, profile, theme, width, address):
    """The page as the browser has it after its check, and what it wrote to the console."""
    frame = os.path.join(profile, "frame.html")
    for budget in (3000, 12000, 48000):  # on a busy machine the browser's time may be over before it has read the page
        with open(frame, "w", encoding="utf-8") as file:
            file.write(FRAME % (width, html.escape(address + "#check"), budget - 500))
        done = run(browser, profile, theme, (1700, 1100), ["--dump-dom"], "file://" + frame, budget)
        text = re.search(r"<pre>(.*)</pre>", done.stdout.decode("utf-8", "replace"), re.S)
        page = html.unescape(text[1]) if text else ""
        if " data-checked=" in page:
            break
    return page, console(done.stderr)


def faults_of(page, theme, width):
    root = page.root
    if root.get("data-checked") != str(len(page.figures)):
        yield f"the page did not check itself: {root}"
        return
    if root["data-width"] != str(width):
        yield f"the page is {root['data-width']} wide, not {width}"
    if (root["data-dark"] == "true") != (theme == "dark"):
        yield f"the page is not {theme}"
    if root.get("data-errors"):
        yield f"errors: {root['data-errors']}"
    if root["data-overflow"]:
        yield f"wider than their place: {root['data-overflow']}"
    if root["data-overlap"]:
        yield f"labels overlap: {root['data-overlap']}"
    for figure in page.figures:
        if figure.kind in SPEAKING and not figure.empty and "data-hovered" not in figure.attributes:
            yield f"{figure.name()} says nothing under the pointer"


def look(browser, profile, path, out, theme, width):
    address = "file://" + os.path.abspath(path)
    text, lines = built(browser, profile, theme, width, address)
    page, faults = check_dom.check(text)
    faults += [f"console: {line}" for line in lines]
    faults += faults_of(page, theme, width)
    height = min(TALLEST, int(page.root.get("data-height", 1000)))
    if out:
        name = os.path.splitext(os.path.basename(path))[0]
        picture = os.path.join(os.path.abspath(out), f"{name}_{theme}_{width}.png")
        done = run(browser, profile, theme, (width, height), [f"--screenshot={picture}"], address)
        faults += [f"console: {line}" for line in console(done.stderr)]
        if not os.path.exists(picture):
            faults.append("there is no picture")
    for fault in faults:
        print(f"{path}, {theme}, {width}: {fault}")
    print(f"{path}, {theme}, {width}: {len(page.figures)} figures, {height} high, {len(faults)} faults", flush=True)
    return len(faults)


def option(arguments, name):
    if name not in arguments:
        return None
    at = arguments.index(name)
    value = arguments[at + 1]
    del arguments[at:at + 2]
    return value


def main(arguments):
    out, only = option(arguments, "--out"), option(arguments, "--only")
    if not arguments:
        sys.exit(__doc__)
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not browser:
        print("NOT RUN: there is no Chromium")
        return 0
    if out:
        os.makedirs(out, exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        faults = sum(look(browser, profile, path, out, theme, width)
                     for path in arguments for theme in THEMES if only in (None, theme) for width in WIDTHS)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
