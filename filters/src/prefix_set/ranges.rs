//! Disjoint ranges of numbers in a static, implicit B-tree.
//!
//! The starts of all ranges lie sorted in nodes of sixteen; each further level holds the first
//! start of every node below it. A lookup counts, without branches, how many starts of one node
//! per level are not above the key: five nodes for a million ranges, whatever their distribution.
//! (The layout is the "S+ tree" of Khuong and Morin, "Array layouts for comparison-based
//! searching", 2017, section 5, with the fan-out of a cache line.)

/// Starts per node: one cache line of IPv4 addresses, four of IPv6 addresses.
const FAN_OUT: usize = 16;

/// A number that addresses are kept as.
pub(super) trait Bits: Copy + Ord {
    const MAX: Self;

    /// The number after this one; the last has itself.
    fn successor(self) -> Self;
}

impl Bits for u32 {
    const MAX: Self = Self::MAX;

    fn successor(self) -> Self {
        self.saturating_add(1)
    }
}

impl Bits for u128 {
    const MAX: Self = Self::MAX;

    fn successor(self) -> Self {
        self.saturating_add(1)
    }
}

/// Ranges that neither overlap nor touch.
#[derive(Debug)]
pub(super) struct Ranges<B> {
    /// Root first; the last level holds every start. Unused places at the end of a level are
    /// filled with `B::MAX`.
    levels: Vec<Box<[Node<B>]>>,
    /// The last number of each range, in the order of the starts.
    lasts: Box<[B]>,
}

#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Node<B>([B; FAN_OUT]);

impl<B: Bits> Ranges<B> {
    /// Sorts and merges pairs of a first and a last number.
    pub(super) fn new(mut pairs: Vec<(B, B)>) -> Self {
        pairs.sort_unstable();
        pairs.dedup_by(|next, open| {
            let joins = next.0 <= open.1.successor();
            if joins {
                open.1 = open.1.max(next.1);
            }
            joins
        });
        let lasts = pairs.iter().map(|pair| pair.1).collect();
        let starts: Vec<B> = pairs.iter().map(|pair| pair.0).collect();
        drop(pairs);
        Self {
            levels: levels(starts),
            lasts,
        }
    }

    /// The range that holds `key`.
    pub(super) fn find(&self, key: B) -> Option<(B, B)> {
        let mut at = 0;
        for level in &self.levels {
            // Only the largest key counts the filling too, which leads behind the end.
            at = at.min(level.len() - 1);
            let not_above = level[at].0.iter().filter(|&&start| start <= key).count();
            at = at * FAN_OUT + not_above.checked_sub(1)?;
        }
        at = at.min(self.lasts.len().checked_sub(1)?);
        let (start, last) = (self.levels.last()?[at / FAN_OUT].0[at % FAN_OUT], self.lasts[at]);
        (key <= last).then_some((start, last))
    }

    pub(super) fn len(&self) -> usize {
        self.lasts.len()
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let nodes: usize = self.levels.iter().map(|level| size_of_val(&**level)).sum();
        nodes + size_of_val(&*self.lasts) + self.levels.capacity() * size_of::<Box<[Node<B>]>>()
    }
}

impl<B: Bits> Default for Ranges<B> {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

/// Builds the levels from the sorted starts upwards, until one node is left.
fn levels<B: Bits>(mut starts: Vec<B>) -> Vec<Box<[Node<B>]>> {
    let mut levels = Vec::new();
    while !starts.is_empty() {
        let level: Box<[Node<B>]> = starts.chunks(FAN_OUT).map(filled).collect();
        starts = match level.len() {
            1 => Vec::new(),
            _ => level.iter().map(|node| node.0[0]).collect(),
        };
        levels.push(level);
    }
    levels.reverse();
    levels
}

fn filled<B: Bits>(starts: &[B]) -> Node<B> {
    let mut node = Node([B::MAX; FAN_OUT]);
    for (place, start) in node.0.iter_mut().zip(starts) {
        *place = *start;
    }
    node
}
