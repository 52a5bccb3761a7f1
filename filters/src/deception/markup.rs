//! Documents in tags: web pages, feeds, drawings. Every tag that a piece opens it closes, but for
//! the paragraph that [`Draft::open`] describes.

use crate::deception::{page::Draft, random::Random, text};

/// One piece of a web page: the head, then headings, lists and paragraphs, sentence by sentence.
pub(crate) fn html(draft: &mut Draft<'_>) -> String {
    if draft.number() == 0 {
        return html_head(draft);
    }
    if draft.open() {
        return html_sentence(draft);
    }
    match draft.random().below(9) {
        0 => html_list(draft),
        1 | 2 => {
            let title = text::title(draft.random());
            format!("<h2>{title}</h2>\n{}", html_paragraph(draft))
        }
        _ => html_paragraph(draft),
    }
}

fn html_head(draft: &mut Draft<'_>) -> String {
    let title = text::title(draft.random());
    let nav = [anchor(draft), anchor(draft), anchor(draft)].join("\n");
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n</head>\n<body>\n<nav>\n{nav}\n</nav>\n\
         <main>\n<h1>{title}</h1>\n"
    )
}

fn html_paragraph(draft: &mut Draft<'_>) -> String {
    draft.set_open(true);
    format!("<p>{}", draft.sentence())
}

fn html_sentence(draft: &mut Draft<'_>) -> String {
    match draft.random().below(8) {
        0 | 1 => {
            draft.set_open(false);
            "</p>\n".to_owned()
        }
        2 | 3 => {
            let (before, after) = draft.random().pick(REFERENCES);
            format!(" {before}{}{after}", anchor(draft))
        }
        _ => format!(" {}", draft.sentence()),
    }
}

/// What a sentence says around its link.
const REFERENCES: &[(&str, &str)] = &[
    ("The entry on the ", " has more."),
    ("Compare the ", ", which is described elsewhere."),
    ("The same is told of the ", "."),
    ("For the sources see ", "."),
    ("This was copied from the papers on the ", "."),
    (
        "A longer account is kept under ",
        " and was not repeated here.",
    ),
];

fn html_list(draft: &mut Draft<'_>) -> String {
    let items: String = (0..3)
        .map(|_| format!("<li>{}</li>\n", anchor(draft)))
        .collect();
    format!("<ul>\n{items}</ul>\n")
}

/// A link whose text says what its path says.
fn anchor(draft: &mut Draft<'_>) -> String {
    let link = draft.link();
    let name = link.trim_end_matches('/').trim_end_matches(".html");
    let words = name.rsplit('/').next().unwrap_or(name).replace('-', " ");
    format!("<a href=\"{link}\">{words}</a>")
}

/// One piece of an RSS 2.0 feed.
pub(crate) fn feed(draft: &mut Draft<'_>) -> String {
    let title = text::title(draft.random());
    let summary = draft.sentence();
    let link = draft.link();
    if draft.number() == 0 {
        return format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<rss version=\"2.0\">\n<channel>\n\
             <title>{title}</title>\n<link>{link}</link>\n<description>{summary}</description>\n"
        );
    }
    let id = draft.random().draw();
    format!(
        "<item>\n<title>{title}</title>\n<link>{link}</link>\n\
         <guid isPermaLink=\"false\">{id:016x}</guid>\n\
         <description>{summary}</description>\n</item>\n"
    )
}

/// One piece of an SVG image.
pub(crate) fn drawing(draft: &mut Draft<'_>) -> String {
    if draft.number() == 0 {
        return "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 960 640\">\n".to_owned();
    }
    let random = draft.random();
    let colour = random.below(1 << 24);
    let (x, y) = point(random);
    if random.one_in(3) {
        let radius = random.between(2, 40);
        return format!("<circle cx=\"{x}\" cy=\"{y}\" r=\"{radius}\" fill=\"#{colour:06x}\"/>\n");
    }
    let line: String = (0..random.between(3, 9))
        .map(|_| point(random))
        .map(|(x, y)| format!(" L{x} {y}"))
        .collect();
    format!("<path d=\"M{x} {y}{line}\" fill=\"none\" stroke=\"#{colour:06x}\"/>\n")
}

fn point(random: &mut Random) -> (u64, u64) {
    (random.below(960), random.below(640))
}
