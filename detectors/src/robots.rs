//! robots.txt (RFC 9309), parsed once.

mod pattern;

use pattern::Pattern;

/// Bytes of a robots.txt that are read: the least that RFC 9309 section 2.5 asks of a crawler.
pub const LONGEST: usize = 500 * 1024;

/// The rules of one robots.txt.
#[derive(Debug, Default)]
pub struct Robots {
    groups: Vec<Group>,
}

#[derive(Debug, Default)]
struct Group {
    agents: Vec<Box<str>>,
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    allows: bool,
    pattern: Pattern,
}

impl Robots {
    /// Parses a file. Whatever is not a record is skipped, so every file has a meaning (section
    /// 2.2.4); what lies beyond [`LONGEST`] is not read.
    pub fn parse(file: &[u8]) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        for line in lines(readable(file)) {
            match (record(line), groups.last_mut()) {
                (Some(Record::Agent(agent)), Some(group)) if group.rules.is_empty() => {
                    group.agents.push(agent.into());
                }
                (Some(Record::Agent(agent)), _) => groups.push(Group {
                    agents: vec![agent.into()],
                    rules: Vec::new(),
                }),
                // An empty pattern matches nothing, but it ends the list of agents.
                (Some(Record::Rule { allows, pattern }), Some(group)) => group.rules.push(Rule {
                    allows,
                    pattern: Pattern::new(pattern),
                }),
                _ => {}
            }
        }
        Self { groups }
    }

    /// Whether it has no group for any robot.
    pub const fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Memory that it takes, but for what allocations cost beside.
    pub fn heap_bytes(&self) -> usize {
        let of_group = |group: &Group| {
            let agents: usize = group.agents.iter().map(|agent| agent.len()).sum();
            let rules = group.rules.iter().map(|rule| rule.pattern.heap_bytes());
            agents
                + group.agents.capacity() * size_of::<Box<str>>()
                + group.rules.capacity() * size_of::<Rule>()
                + rules.sum::<usize>()
        };
        self.groups.capacity() * size_of::<Group>()
            + self.groups.iter().map(of_group).sum::<usize>()
    }

    /// Whether the file lets the robot of this product token ask for this path and query.
    ///
    /// The groups of the token count together; without one, those of its family do
    /// (`Googlebot-Image` obeys `Googlebot`, as its operator documents); without these, those of
    /// `*` (section 2.2.1). Among the rules the longest match wins, and `Allow` wins a tie
    /// (section 2.2.2). `/robots.txt` itself is always allowed.
    pub fn allows(&self, agent_token: &str, path_and_query: &str) -> bool {
        if path_and_query == "/robots.txt" {
            return true;
        }
        let mut token = agent_token;
        loop {
            if token.is_empty() {
                return self.verdict("*", path_and_query).unwrap_or(true);
            }
            if let Some(verdict) = self.verdict(token, path_and_query) {
                return verdict;
            }
            token = token.rsplit_once('-').map_or("", |(family, _)| family);
        }
    }

    /// What the groups of exactly this agent say; `None` where there is no such group.
    fn verdict(&self, agent: &str, path: &str) -> Option<bool> {
        let addressed = |group: &&Group| {
            group
                .agents
                .iter()
                .any(|one| one.eq_ignore_ascii_case(agent))
        };
        let mut groups = self.groups.iter().filter(addressed).peekable();
        groups.peek()?;
        let matching = groups
            .flat_map(|group| &group.rules)
            .filter(|rule| rule.pattern.matches(path));
        let strongest = matching.max_by_key(|rule| (rule.pattern.length(), rule.allows));
        Some(strongest.is_none_or(|rule| rule.allows))
    }
}

/// A robots.txt in which every group forbids everything below `prefix` too, and in which there is
/// a group for every robot. Each group keeps all that it said before.
///
/// It is no longer than [`LONGEST`], which is all that a crawler has to read: what does not fit is
/// left out at its end, never the rules for `prefix`.
pub fn with_disallow(text: &str, prefix: &str) -> String {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let rule = disallow(text, prefix);
    let everyone = format!("User-agent: *\n{rule}");
    // A line, the rule before it, a line end, and what may have to follow.
    let most = LONGEST.saturating_sub(2 * rule.len() + everyone.len() + 1);
    let mut edited = String::with_capacity(text.len().min(LONGEST) + 256);
    let (mut agents_open, mut names_everyone) = (false, false);
    for line in text.split_inclusive(['\n', '\r']) {
        if edited.len() + line.len() > most {
            break;
        }
        match record(line.as_bytes()) {
            Some(Record::Agent(agent)) => {
                agents_open = true;
                names_everyone |= agent == "*";
            }
            // The rule stands before the group's own, for readers that take the first match.
            Some(Record::Rule { .. }) if agents_open => {
                agents_open = false;
                edited.push_str(&rule);
            }
            _ => {}
        }
        if !record(line.as_bytes()).is_some_and(|record| record.outdoes_all()) {
            edited.push_str(line);
        }
    }
    if !edited.is_empty() && !edited.ends_with('\n') {
        edited.push('\n');
    }
    if agents_open {
        edited.push_str(&rule);
    }
    if !names_everyone {
        edited.push_str(&everyone);
    }
    edited
}

/// General patterns of this length are outdone by a longer one; those beyond it lead to no
/// page, and are left out.
const LONGEST_OUTDONE: usize = 2048;

/// The rule for `prefix`. The longest match wins, so a general `Allow: /*.html$` would open what
/// `Disallow: /maze/` closes: a second rule, longer by stars that match nothing more, outdoes it.
fn disallow(text: &str, prefix: &str) -> String {
    let allowed = text
        .split(['\n', '\r'])
        .filter_map(|line| match record(line.as_bytes()) {
            Some(Record::Rule {
                allows: true,
                pattern,
            }) if pattern.contains(&b'*') => Some(pattern.len()),
            _ => None,
        })
        .filter(|length| *length <= LONGEST_OUTDONE);
    let mut rule = format!("Disallow: {prefix}\n");
    if let Some(longest) = allowed.max().filter(|longest| *longest >= prefix.len()) {
        let stars = "*".repeat(longest + 1 - prefix.len());
        rule.push_str(&format!("Disallow: {prefix}{stars}\n"));
    }
    rule
}

/// Whether a text is a page for people, such as an application sends for any path that it does not
/// know. No record begins like that.
pub fn is_markup(text: &[u8]) -> bool {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    text.trim_ascii_start().starts_with(b"<")
}

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

enum Record<'a> {
    Agent(&'a str),
    Rule { allows: bool, pattern: &'a [u8] },
}

impl Record<'_> {
    /// Whether it allows more than any rule of ours could forbid.
    fn outdoes_all(&self) -> bool {
        matches!(self, Self::Rule { allows: true, pattern }
            if pattern.len() > LONGEST_OUTDONE && pattern.contains(&b'*'))
    }
}

/// Reads one line (section 2.2); `None` for comments and records of other kinds, which do not end
/// a group (section 2.2.4).
fn record(line: &[u8]) -> Option<Record<'_>> {
    let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
    let line = line.split(|byte| *byte == b'#').next().unwrap_or_default();
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (key, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
    if key.eq_ignore_ascii_case(b"user-agent") {
        // A version behind the token is no part of it, though people write one.
        let token = value
            .split(|byte| *byte == b'/' || byte.is_ascii_whitespace())
            .next()?;
        // A token that no robot can have still begins a group of its own.
        return Some(Record::Agent(
            std::str::from_utf8(token).unwrap_or_default(),
        ));
    }
    let allows = key.eq_ignore_ascii_case(b"allow");
    let is_rule = allows || key.eq_ignore_ascii_case(b"disallow");
    is_rule.then_some(Record::Rule {
        allows,
        pattern: value,
    })
}

fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.split(|byte| matches!(byte, b'\n' | b'\r'))
}

/// The part of a file that is read, cut at a line's end: half a rule would forbid too much.
fn readable(file: &[u8]) -> &[u8] {
    let Some(start) = file.get(..LONGEST).filter(|_| file.len() > LONGEST) else {
        return file;
    };
    let end = start.iter().rposition(|byte| matches!(byte, b'\n' | b'\r'));
    &start[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests;
