#include "nn/inspect/report/style.h"

#include <fmt/format.h>

#include "nn/inspect/report/palette.h"

namespace moegrad::report {
namespace {

constexpr const char* kPage = R"css(
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-behavior:smooth;scroll-padding-top:64px}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;font-variant-numeric:tabular-nums}
.wrap{max-width:1440px;margin:0 auto;padding:0 24px 64px}
header{padding:40px 0 24px;position:relative}
h1{font-size:30px;line-height:1.2;letter-spacing:-.02em;margin:0 96px 6px 0;overflow-wrap:anywhere}
.sub{color:var(--muted);font-size:16px;margin:0;max-width:80ch}
.theme{position:absolute;right:0;top:44px}
button{font:inherit;font-size:13px;color:var(--ink);background:var(--card);border:1px solid var(--line);border-radius:8px;padding:3px 10px;cursor:pointer}
button:hover{border-color:var(--axis)}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:1px;margin:0 0 16px;background:var(--line);border:1px solid var(--line);border-radius:12px;overflow:hidden}
.facts div{background:var(--card);padding:14px 18px;min-width:0}
.facts dt{color:var(--muted);font-size:12.5px}
.facts small{font-size:14px;font-weight:500;letter-spacing:0;color:var(--muted)}
.facts dd{margin:2px 0 0;font-size:21px;font-weight:600;letter-spacing:-.01em;line-height:1.3;overflow-wrap:anywhere}
.command{display:flex;align-items:flex-start;gap:12px;background:var(--card);border:1px solid var(--line);border-radius:12px;padding:10px 12px 10px 18px;margin:0 0 8px}
.command code{flex:1;min-width:0;font:13px/1.65 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;white-space:pre-wrap;overflow-wrap:anywhere;padding:2px 0}
.command code::before{content:"$ ";color:var(--muted)}
nav{position:sticky;top:0;z-index:5;background:var(--page);margin:0 -24px;padding:8px 24px;overflow-x:auto;white-space:nowrap;border-bottom:1px solid var(--line);scrollbar-width:none}
nav a{display:inline-block;color:var(--muted);text-decoration:none;font-size:14px;padding:5px 12px;border-radius:8px}
nav a:hover{color:var(--ink)}
nav a.here{color:var(--ink);background:var(--card);box-shadow:inset 0 0 0 1px var(--line)}
section{padding-top:36px}
h2{font-size:20px;letter-spacing:-.01em;line-height:1.3;margin:0 0 4px;overflow-wrap:anywhere}
.text{color:var(--muted);max-width:80ch;margin:0}
.grid{display:grid;grid-template-columns:minmax(0,1fr);gap:16px;margin-top:16px}
footer{color:var(--muted);font-size:13px;margin-top:48px}
@media(min-width:960px){.grid{grid-template-columns:repeat(2,minmax(0,1fr))}.wide{grid-column:1/-1}}
@media(min-width:1240px){.body{display:grid;grid-template-columns:180px minmax(0,1fr);gap:32px}nav{align-self:start;top:0;max-height:100vh;margin:28px 0 0;padding:8px 0;overflow:auto;white-space:normal;border:0}nav a{display:block;margin-bottom:2px}}
@media(max-width:600px){.wrap{padding:0 14px 40px}header{padding:24px 0 18px}h1{font-size:24px}.theme{top:25px}nav{margin:0 -14px;padding:8px 14px}.facts{grid-template-columns:repeat(2,minmax(0,1fr))}.facts div{padding:10px 14px}.facts dd{font-size:18px}.facts div:last-child:nth-child(odd){grid-column:1/-1}.layers{flex-wrap:nowrap!important;overflow-x:auto;padding:3px;margin:0 -3px 5px!important}.layers button{flex:none}}
@media print{nav,.theme,button{display:none}figure{break-inside:avoid}}
)css";

constexpr const char* kFigure = R"css(
figure{margin:0;min-width:0;background:var(--card);border:1px solid var(--line);border-radius:12px;padding:16px 18px 14px;display:flex;flex-direction:column}
figcaption{font-weight:600;font-size:15px;line-height:1.35;margin-bottom:8px;overflow-wrap:anywhere}
.note{color:var(--muted);font-size:13px;line-height:1.5;margin:10px 0 0;max-width:90ch}
.empty{flex:1;display:grid;place-items:center;min-height:120px;color:var(--muted);border:1px dashed var(--line);border-radius:8px}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:2px 16px;margin:0 0 8px;padding:0;font-size:13px;color:var(--muted);max-height:74px;overflow-y:auto}
.legend li{display:flex;align-items:center;gap:7px;overflow-wrap:anywhere;min-width:0}
.legend i{flex:none;width:16px;border-top:3px solid var(--e)}
.legend .d1{border-top-style:dashed}.legend .d2{border-top-style:dotted}
.legend .level{border-top:1.5px dashed var(--muted)}
.chart{container-type:inline-size;font-size:12px;color:var(--muted);flex:1;display:flex;flex-direction:column}
.yl{font-size:12px;color:var(--muted);margin-bottom:4px}
.xl{text-align:center;margin:4px 18px 0 calc(var(--gutter) + 8px)}
.chart>.plot{flex:1;margin:6px 18px 22px calc(var(--gutter) + 8px)}
.plot{position:relative;touch-action:pan-y;cursor:crosshair}
.plot svg,.cells,.tiles{position:absolute;inset:0;width:100%;height:100%;display:block}
.plot svg{overflow:visible}
.plot path{fill:none;vector-effect:non-scaling-stroke}
.plot .grid{stroke:var(--grid);stroke-width:1}
.plot .stroke{stroke:var(--e);stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}
.plot .dots{stroke:var(--e);stroke-width:6;stroke-linecap:round}
.plot .d1{stroke-dasharray:7 4}.plot .d2{stroke-dasharray:2 4}
.plot .area{fill:var(--e);opacity:.2}
.plot .fill{fill:var(--e)}
.plot .level,.plot .zero,.plot .ends{stroke:var(--muted);stroke-width:1.3}
.plot .level{stroke-dasharray:5 4}
.plot .ends{stroke:var(--ink);stroke-width:1.6}
.yt,.xt{position:absolute;white-space:nowrap;line-height:1}
.yt{right:calc(100% + 8px);transform:translateY(-50%);max-width:var(--gutter);overflow:hidden;text-overflow:ellipsis;line-height:1.25}
.xt{top:calc(100% + 8px);transform:translateX(-50%)}
.cells{image-rendering:pixelated;border-radius:3px}
.tiles{--t:1px;background:linear-gradient(var(--card) var(--t),transparent 0) 0 0/100% calc(100%/var(--ny)),linear-gradient(90deg,var(--card) var(--t),transparent 0) 0 0/calc(100%/var(--nx)) 100%}
.bar{display:flex;flex-wrap:wrap;align-items:center;gap:2px 8px;font-size:12px;color:var(--muted);margin-bottom:10px}
.bar .what{flex:1}
.scale{display:inline-flex;align-items:center;gap:8px}
.ramp{position:relative;width:140px;height:10px;border-radius:3px}
.ramp i,.mark i{background:var(--ink);width:2px;border-radius:1px}
.ramp i{position:absolute;top:-3px;bottom:-3px;margin-left:-1px;box-shadow:0 0 0 1px var(--card)}
.mark{display:inline-flex;align-items:center;gap:5px;margin-right:10px}
.mark i{height:12px}
@container(max-width:430px){.xt.alt,.axis .alt,.tight{display:none}}
.cross,.spot,.cell{position:absolute;pointer-events:none;display:none}
.cross{top:0;bottom:0;width:1px;background:var(--muted)}
.spot{width:9px;height:9px;margin:-4.5px;border-radius:50%;background:var(--e);border:2px solid var(--card)}
.cell{outline:2px solid var(--ink);box-shadow:0 0 0 3px var(--card)}
#tip{position:fixed;z-index:9;left:0;top:0;display:none;pointer-events:none;max-width:min(340px,92vw);background:var(--card);color:var(--ink);border:1px solid var(--axis);border-radius:8px;padding:7px 11px;font-size:12.5px;line-height:1.5;box-shadow:0 6px 20px rgba(0,0,0,.18);overflow-wrap:anywhere}
#tip .head{color:var(--muted)}
#tip .row{display:flex;gap:7px;align-items:baseline}
#tip .row i{flex:none;width:9px;height:9px;border-radius:2px;background:var(--e)}
#tip .row b{margin-left:auto;padding-left:14px;white-space:nowrap}
#tip .row em{font-style:normal;color:var(--muted)}
)css";

constexpr const char* kParts = R"css(
.hbars{container-type:inline-size;display:grid;grid-template-columns:minmax(0,max-content) minmax(0,1fr);gap:7px 12px;align-items:center;font-size:13px}
.hl{overflow-wrap:anywhere;max-width:34vw}
.hbar{display:flex;align-items:center;gap:10px;height:18px}
.track{position:relative;flex:1;height:14px;background:var(--raised);border-radius:3px}
.track i,.track u,.track s{position:absolute}
.track i{top:0;bottom:0;background:var(--e);border-radius:2px;min-width:1px}
.track u{top:50%;height:0;border-top:2px solid var(--ink)}
.track s{top:-5px;bottom:-5px;border-left:1.5px dashed var(--muted)}
.track b{position:absolute;top:0;bottom:0;width:1px;margin-left:-.5px;background:var(--card)}
.track.points{background:none}
.track.points b{top:-8px;bottom:-8px;background:var(--line)}
.track.points u{border-top:3px solid color-mix(in srgb,var(--e) 55%,var(--card));margin-top:-1.5px}
.track .point{width:11px;min-width:0;z-index:1;top:1.5px;bottom:1.5px;margin-left:-5.5px;border-radius:50%}
.track.axis{background:none;font-size:12px;color:var(--muted)}
.track.axis span{position:absolute;transform:translateX(-50%);white-space:nowrap}
.bv{position:absolute;transform:translate(-50%,calc(-100% - 2px));font-size:11.5px;line-height:1.2;color:var(--ink);white-space:nowrap;text-shadow:0 0 3px var(--card),0 0 3px var(--card),0 0 2px var(--card)}
.bv.below{transform:translate(-50%,2px)}
.value{width:7ch;text-align:right;font-size:12.5px}
.scroll{overflow:auto;max-width:100%}
table{border-collapse:collapse;font-size:13.5px;width:100%}
th,td{text-align:left;padding:5px 14px 5px 0;border-bottom:1px solid var(--line);vertical-align:baseline}
[data-figure=table]>.scroll{max-height:520px}
[data-figure=table] th{position:sticky;top:0;background:var(--card)}
th{color:var(--muted);font-weight:500;font-size:12.5px;white-space:nowrap}
tbody tr:last-child td{border-bottom:0}
th.n,td.n{text-align:right;white-space:nowrap}
td{white-space:nowrap}
td.long{white-space:normal;min-width:26ch}
th:last-child,td:last-child{padding-right:0}
details{margin-top:auto;padding-top:10px;font-size:12.5px;color:var(--muted)}
summary{cursor:pointer;width:max-content;max-width:100%}
details .scroll{max-height:260px;margin-top:8px}
.layers,.experts{display:flex;flex-wrap:wrap;align-items:center;gap:5px;margin-bottom:8px}
.layers span,.experts span{font-size:12.5px;color:var(--muted);width:52px}
.layers .alone{margin-left:auto}
.layers button[aria-pressed=true]{background:var(--ink);border-color:var(--ink);color:var(--card)}
.experts button{position:relative;min-width:30px;padding:1px 7px 4px;font-size:12px;border-radius:6px}
.experts button::after{content:"";position:absolute;left:4px;right:4px;bottom:2px;height:3px;border-radius:2px;background:var(--e)}
.experts button[aria-pressed=true]{outline:2px solid var(--e)}
.experts button.gone{display:none}
.chars,.patches{--none:0}
b[class^=e]{background:color-mix(in srgb,var(--e) var(--a),transparent)}
.chars{font:15px/1.9 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;white-space:pre-wrap;overflow-wrap:anywhere;max-height:520px;overflow-y:auto;margin-top:6px}
.chars b{font-weight:400;unicode-bidi:isolate;padding:2px 0;cursor:default;box-shadow:inset 0 -2px 0 var(--e)}
.chars .none{color:var(--muted);box-shadow:none}
.dim .chars b:not(.on),.dim .patches b:not(.on){opacity:.18}
.pics{display:grid;grid-template-columns:repeat(auto-fill,minmax(132px,1fr));gap:14px;margin-top:6px}
.view{position:relative;border-radius:6px;overflow:hidden}
.view img{display:block;width:100%;height:auto}
.view .small{image-rendering:pixelated}
.patches{position:absolute;inset:0;display:grid;grid-template-columns:repeat(var(--nx),1fr);grid-template-rows:repeat(var(--ny),1fr)}
.patches .w0{--a:16%}.patches .w1{--a:26%}.patches .w2{--a:36%}.patches .w3{--a:46%}.patches .w4{--a:56%}
[data-figure=routed-images] .experts button{background:#20262e;border-color:#20262e;color:#e8ebf0}
.patches b{box-shadow:inset 0 0 0 1px color-mix(in srgb,var(--e) 75%,transparent)}
.patches .none{box-shadow:none}
.bare .patches{opacity:0}
.cap{font-size:12.5px;color:var(--muted);margin-top:5px;overflow-wrap:anywhere;line-height:1.4}
.depth{display:flex;gap:8px;font-size:12px;color:var(--muted)}
.depth .names{flex:none;max-width:30%}
.depth .names span{display:block;height:18px;line-height:18px;text-align:right;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.depth .scroll{flex:1;min-width:0;overflow-y:hidden;padding-bottom:6px}
.field{width:min(100%,calc(var(--nx)*24px));min-width:calc(var(--nx)*11px)}
.field .plot{height:calc(var(--ny)*18px);background:var(--raised)}
.tokens{display:grid;grid-template-columns:repeat(var(--nx),1fr);font:11px/20px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;text-align:center;white-space:pre}
.tokens span{overflow:hidden}
.drawing svg{display:block;max-width:none;margin:0 auto}
)css";

std::string variables(i64 categories, bool dark) {
  std::string out = fmt::format("color-scheme:{};", dark ? "dark" : "light");
  for (const ThemeColour& c : theme()) out += fmt::format("--{}:{};", c.name, hex(dark ? c.dark : c.light));
  for (i64 i = 0; i < categories; ++i) out += fmt::format("--c{}:{};", i, hex(category(i, dark)));
  return out;
}

}  // namespace

std::string style(i64 categories) {
  const std::string dark = variables(categories, true);
  std::string out = fmt::format(":root{{{}}}\n", variables(categories, false));
  out += fmt::format("@media(prefers-color-scheme:dark){{:root:not([data-theme=light]){{{}}}}}\n", dark);
  out += fmt::format(":root[data-theme=dark]{{{}}}\n", dark);
  // Pictures are as bright by night as by day.
  out += "[data-figure=routed-images],.vivid{";
  for (i64 i = 0; i < categories; ++i) out += fmt::format("--c{}:{};", i, hex(category(i, true)));
  out += "}\n";
  for (i64 i = 0; i < categories; ++i) out += fmt::format(".e{0}{{--e:var(--c{0})}}", i);
  for (int w = 0; w <= 4; ++w) out += fmt::format(".w{}{{--a:{:.0f}%}}", w, 100 * kStrongest * (1 + w) / 5);
  return out + kPage + kFigure + kParts;
}

}  // namespace moegrad::report
