//! Sentences from templates and word lists: readable, endless and about nothing.

use crate::deception::{random::Random, words};

/// The `n`th sentence of a text, with its full stop, at most a few hundred characters.
///
/// The templates take turns by group, so that neighbours are never of the same form.
pub(crate) fn sentence(random: &mut Random, n: u32) -> String {
    let groups = words::SENTENCES.len() / GROUP;
    let start = n as usize % groups * GROUP;
    let template = random.pick(&words::SENTENCES[start..start + GROUP]);
    fill(template, random)
}

/// Templates in a group, which their number is a multiple of.
const GROUP: usize = 8;
const _: () =
    assert!(words::SENTENCES.len() >= GROUP && words::SENTENCES.len().is_multiple_of(GROUP));

/// A heading of a few words.
pub(crate) fn title(random: &mut Random) -> String {
    let template = random.pick(words::TITLES);
    fill(template, random)
}

/// A thing as a link names it: `narrow canal`.
pub(crate) fn phrase(random: &mut Random) -> String {
    let adjective = random.pick(words::ADJECTIVES);
    format!("{adjective} {}", random.pick(words::NOUNS))
}

/// The last element of a path, without extension: `narrow-canal`, `narrow-canal-1893`.
pub(crate) fn slug(random: &mut Random) -> String {
    let name = match random.below(4) {
        0 => format!("{} {}", phrase(random), year(random)),
        1 => format!(
            "{} and {}",
            random.pick(words::NOUNS),
            random.pick(words::MATERIALS)
        ),
        _ => phrase(random),
    };
    name.replace(' ', "-")
}

/// Two words for a name in a program, neither with a space: `narrow`, `canal`.
pub(crate) fn name(random: &mut Random) -> [&'static str; 2] {
    let last_word = |entry: &'static str| entry.rsplit(' ').next().unwrap_or(entry);
    let adjective = random.pick(words::ADJECTIVES);
    [adjective, last_word(random.pick(words::NOUNS))]
}

/// A year of the time that the texts are about.
pub(crate) fn year(random: &mut Random) -> u64 {
    random.between(1740, 1938)
}

/// The text with its first letter in upper case.
pub(crate) fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// Replaces each mark of a template by a draw from its list.
fn fill(template: &str, random: &mut Random) -> String {
    let mut text = String::with_capacity(160);
    let mut parts = template.split('%');
    text.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let mut rest = part.chars();
        if let Some(mark) = rest.next() {
            push_mark(&mut text, mark, random);
        }
        text.push_str(rest.as_str());
    }
    capitalised(&text)
}

fn push_mark(text: &mut String, mark: char, random: &mut Random) {
    let word = match mark {
        'a' => random.pick(words::ADJECTIVES),
        'd' => return text.push_str(&random.between(4, 90).to_string()),
        'g' => pick_new(words::GOODS, text, random),
        'm' => pick_new(words::MATERIALS, text, random),
        'n' => pick_new(words::NOUNS, text, random),
        'N' => return push_plural(text, random),
        'p' => pick_new(words::PEOPLE, text, random),
        'q' => random.pick(words::MANNERS),
        't' => random.pick(words::TIMES),
        'v' => random.pick(words::VERBS),
        'w' => random.pick(words::PLACES),
        'x' => return push_with_article(text, random),
        'y' => return text.push_str(&year(random).to_string()),
        _ => "",
    };
    text.push_str(word);
}

/// A word that the text does not hold yet, or after some draws any: `the clerk and the clerk` reads
/// like a fault.
fn pick_new(list: &[&'static str], text: &str, random: &mut Random) -> &'static str {
    let mut word = random.pick(list);
    for _ in 0..3 {
        if !text.contains(word) {
            break;
        }
        word = random.pick(list);
    }
    word
}

fn push_plural(text: &mut String, random: &mut Random) {
    text.push_str(random.pick(words::NOUNS));
    text.push('s');
}

fn push_with_article(text: &mut String, random: &mut Random) {
    let adjective = random.pick(words::ADJECTIVES);
    let article = if adjective.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    };
    text.push_str(article);
    text.push(' ');
    text.push_str(adjective);
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTS: &[&[&str]] = &[
        words::ADJECTIVES,
        words::GOODS,
        words::MANNERS,
        words::MATERIALS,
        words::NOUNS,
        words::PEOPLE,
        words::PLACES,
        words::SECTIONS,
        words::TIMES,
        words::VERBS,
    ];

    #[test]
    fn words_need_no_escape_and_tell_nothing() {
        for word in LISTS.iter().copied().flatten() {
            assert!(
                word.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b' '),
                "{word}"
            );
            for telling in [
                "bot",
                "trap",
                "tarpit",
                "maze",
                "thornwall",
                "fake",
                "crawl",
            ] {
                assert!(!word.contains(telling), "{word}");
            }
        }
        for template in words::SENTENCES.iter().chain(words::TITLES) {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" ,.;%".contains(&byte);
            assert!(template.bytes().all(plain), "{template}");
        }
    }

    #[test]
    fn lists_repeat_no_entry() {
        for list in LISTS.iter().chain(&[words::SENTENCES, words::TITLES]) {
            let mut sorted = list.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), list.len(), "{:?}", list[0]);
        }
    }

    #[test]
    fn sentences_are_whole_and_varied() {
        let mut random = Random::new(1);
        let mut all: Vec<String> = (0..2000).map(|n| sentence(&mut random, n)).collect();
        for sentence in &all {
            assert!(sentence.starts_with(|first: char| first.is_ascii_uppercase()));
            assert!(
                sentence.ends_with('.') && !sentence.contains('%'),
                "{sentence}"
            );
            assert!(!sentence.contains("  "), "{sentence}");
            assert!((25..220).contains(&sentence.len()), "{sentence}");
        }
        all.sort_unstable();
        all.dedup();
        assert!(all.len() > 1980, "{}", all.len());
    }

    #[test]
    fn neighbours_are_of_different_form() {
        let opening = |sentence: String| -> Vec<String> {
            sentence.split(' ').take(4).map(str::to_owned).collect()
        };
        let mut random = Random::new(6);
        for n in 0..600 {
            let neighbours = [n, n + 1, n + 2].map(|n| opening(sentence(&mut random, n)));
            let [one, two, three] = neighbours;
            assert!(
                one != two && two != three && one != three,
                "{one:?} {two:?} {three:?}"
            );
        }
        sentence(&mut random, u32::MAX);
    }

    #[test]
    fn sentences_seldom_name_a_person_twice() {
        let mut random = Random::new(8);
        let twice = (0..1000).filter(|_| {
            let pair = fill("%p and %p", &mut random).to_lowercase();
            let (one, two) = pair.split_once(" and ").unwrap();
            one == two
        });
        assert_eq!(twice.count(), 0);
    }

    #[test]
    fn templates_fill_as_their_marks_say() {
        let check = |template: &str, expected: &str| {
            assert_eq!(fill(template, &mut Random::new(2)), expected);
        };
        check("", "");
        check("Nothing to fill.", "Nothing to fill.");
        check("%", "");
        check("%?x", "X");
        let mut random = Random::new(9);
        for _ in 0..200 {
            let text = fill("%x", &mut random);
            let (article, adjective) = text.split_once(' ').unwrap();
            let vowel = "aeiou".contains(&adjective[..1]);
            assert_eq!(article, if vowel { "An" } else { "A" }, "{text}");
        }
    }

    #[test]
    fn slugs_are_plain_path_elements() {
        let mut random = Random::new(4);
        for _ in 0..500 {
            let slug = slug(&mut random);
            let plain =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            assert!(slug.bytes().all(plain) && slug.len() < 60, "{slug}");
        }
    }
}
