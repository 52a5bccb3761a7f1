//! Documents of lines: JSON, CSV and plain text.

use crate::deception::{page::Draft, text};

/// One piece of an array of objects.
pub(crate) fn json(draft: &mut Draft<'_>) -> String {
    let number = draft.number();
    let comma = match number {
        0 => return "[\n".to_owned(),
        1 => "",
        _ => ",\n",
    };
    let title = text::title(draft.random());
    let year = text::year(draft.random());
    let summary = draft.sentence();
    let path = draft.link();
    format!(
        "{comma}{{\"id\": {number}, \"title\": \"{title}\", \"year\": {year}, \
         \"path\": \"{path}\", \"summary\": \"{summary}\"}}"
    )
}

/// One piece of a table (RFC 4180).
pub(crate) fn rows(draft: &mut Draft<'_>) -> String {
    let number = draft.number();
    if number == 0 {
        return "id,name,year,length,path,remark\r\n".to_owned();
    }
    let name = text::phrase(draft.random());
    let year = text::year(draft.random());
    let (feet, tenth) = (draft.random().between(2, 900), draft.random().below(10));
    let remark = draft.sentence();
    let path = draft.link();
    format!("{number},{name},{year},{feet}.{tenth},{path},\"{remark}\"\r\n")
}

/// One piece of plain text: a heading, then paragraphs sentence by sentence.
pub(crate) fn prose(draft: &mut Draft<'_>) -> String {
    if draft.number() == 0 {
        return format!("{}\n\n", text::title(draft.random()));
    }
    let sentence = draft.sentence();
    match draft.random().below(6) {
        0 => format!("{sentence}\n\n"),
        1 => format!("{sentence}\nSee {}\n\n", draft.link()),
        _ => format!("{sentence}\n"),
    }
}
