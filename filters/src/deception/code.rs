//! Scripts and style sheets: valid, and without any effect on the page that loads them.

use crate::deception::{page::Draft, random::Random, text, words};

/// One piece of a script. The number of the piece keeps its names unique, since a constant that is
/// declared twice is an error.
pub(crate) fn script(draft: &mut Draft<'_>) -> String {
    let name = format!("{}{}", camel(draft.random()), draft.number());
    match draft.random().below(4) {
        0 => format!("const {name} = [{}];\n", numbers(draft.random())),
        1 => {
            let title = text::title(draft.random());
            let path = draft.link();
            format!("const {name} = {{ title: \"{title}\", path: \"{path}\" }};\n")
        }
        _ => function(&name, draft.random()),
    }
}

fn function(name: &str, random: &mut Random) -> String {
    let verb = random.pick(words::VERBS);
    let name = text::capitalised(name);
    let (start, factor) = (random.below(500), random.between(2, 60));
    let sign = random.pick(&["+", "-"]);
    format!(
        "function {verb}{name}(values, limit) {{\n  let total = {start};\n  \
         for (const value of values) {{\n    \
         if (value > limit) total {sign}= value * {factor};\n  }}\n  return total;\n}}\n"
    )
}

fn camel(random: &mut Random) -> String {
    let [first, second] = text::name(random);
    format!("{first}{}", text::capitalised(second))
}

fn numbers(random: &mut Random) -> String {
    let count = random.between(4, 12);
    let numbers: Vec<String> = (0..count)
        .map(|_| random.below(10_000).to_string())
        .collect();
    numbers.join(", ")
}

/// One piece of a style sheet: a rule.
pub(crate) fn style(draft: &mut Draft<'_>) -> String {
    let random = draft.random();
    let [first, second] = text::name(random);
    let state = random.pick(&["", "", "", ":hover", ":focus", " > li", " a"]);
    let declarations: String = (0..random.between(2, 5))
        .map(|_| declaration(random))
        .collect();
    format!(".{first}-{second}{state} {{\n{declarations}}}\n")
}

fn declaration(random: &mut Random) -> String {
    let length = random.between(1, 48);
    match random.below(6) {
        0 => format!("  color: #{:06x};\n", random.below(1 << 24)),
        1 => format!("  background-color: #{:06x};\n", random.below(1 << 24)),
        2 => format!("  margin: {length}px {}px;\n", random.between(0, 32)),
        3 => format!("  padding: {length}px;\n"),
        4 => format!("  line-height: 1.{};\n", random.below(10)),
        _ => format!("  max-width: {length}rem;\n"),
    }
}
