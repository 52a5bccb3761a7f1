//! Disjoint ranges of numbers, sorted and merged, in a static search tree.
//!
//! The ranges lie in leaves of eight; each level above holds one key for every node below it,
//! sixteen to a node: an implicit B-tree (Khuong and Morin, "Array layouts for comparison-based
//! searching", 2017, section 5). Memory decides what a lookup costs: the levels above half a
//! million ranges fit into a core's second-level cache, and the one leaf that does not is fetched
//! in one go. How the ranges are distributed makes no difference.

/// Ranges per leaf.
const LEAF: usize = 8;
/// Keys per node above the leaves.
const FAN_OUT: usize = 16;

/// A number that addresses are kept as.
pub(crate) trait Bits: Copy + Ord + std::fmt::Debug {
    /// The leading bits that the levels above the leaves compare, half as wide where that helps.
    type Head: Copy + Ord + std::fmt::Debug;

    fn head(self) -> Self::Head;

    /// The number after this one; the last has itself.
    fn successor(self) -> Self;

    /// The number before this one; the first has itself.
    fn predecessor(self) -> Self;
}

impl Bits for u32 {
    type Head = Self;

    fn head(self) -> Self {
        self
    }

    fn successor(self) -> Self {
        self.saturating_add(1)
    }

    fn predecessor(self) -> Self {
        self.saturating_sub(1)
    }
}

impl Bits for u128 {
    type Head = u64;

    fn head(self) -> u64 {
        (self >> 64) as u64
    }

    fn successor(self) -> Self {
        self.saturating_add(1)
    }

    fn predecessor(self) -> Self {
        self.saturating_sub(1)
    }
}

/// Sorts pairs of a first and a last number and joins those that overlap or touch.
pub(crate) fn merge<B: Bits>(pairs: &mut Vec<(B, B)>) {
    pairs.sort_unstable();
    pairs.dedup_by(|next, open| {
        let joins = next.0 <= open.1.successor();
        if joins {
            open.1 = open.1.max(next.1);
        }
        joins
    });
}

/// Ranges that do not overlap.
#[derive(Debug)]
pub(crate) struct Ranges<B: Bits> {
    /// Root first. Unused places at the end of a level repeat the last leaf's head.
    levels: Vec<Box<[Node<B::Head>]>>,
    /// Unused places at the end repeat the last range.
    leaves: Box<[Leaf<B>]>,
    len: usize,
}

#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Node<H>([H; FAN_OUT]);

#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Leaf<B>([(B, B); LEAF]);

impl<B: Bits> Ranges<B> {
    /// Takes pairs of a first and a last number, in order, that do not overlap.
    pub(crate) fn new(disjoint: &[(B, B)]) -> Self {
        let leaves: Box<[Leaf<B>]> = disjoint.chunks(LEAF).map(Leaf::new).collect();
        Self {
            levels: levels(leaves.iter().map(|leaf| leaf.0[0].0.head()).collect()),
            leaves,
            len: disjoint.len(),
        }
    }

    /// The range that holds `key`.
    pub(super) fn find(&self, key: B) -> Option<(B, B)> {
        let leaf = self.leaf_of(key)?;
        let range = self.leaves[leaf].0[self.leaves[leaf].last_begun(key)];
        (key <= range.1).then_some(range)
    }

    /// The place of the range that holds `key`, in the order of the pairs.
    pub(crate) fn place(&self, key: B) -> Option<usize> {
        let leaf = self.leaf_of(key)?;
        let place = self.leaves[leaf].last_begun(key);
        let (_, last) = self.leaves[leaf].0[place];
        // The filling repeats the last range.
        (key <= last).then(|| (leaf * LEAF + place).min(self.len - 1))
    }

    /// The last leaf that begins at or before `key`.
    fn leaf_of(&self, key: B) -> Option<usize> {
        let head = key.head();
        let mut at = 0;
        for level in &self.levels {
            // Behind the last leaf's head the filling counts too, which leads behind the end.
            at = at.min(level.len() - 1);
            at = at * FAN_OUT + level[at].last_begun(head);
        }
        at = at.min(self.leaves.len().checked_sub(1)?);
        if self.leaves[at].0[0].0 <= key {
            return Some(at);
        }
        // The key is below all ranges, or several leaves share its head, so that the levels could
        // not distinguish them.
        let begun = self.leaves[..at].partition_point(|leaf| leaf.0[0].0 <= key);
        begun.checked_sub(1)
    }

    /// Where the range of this place begins.
    pub(crate) fn first(&self, place: usize) -> Option<B> {
        let leaf = self.leaves.get(place / LEAF)?;
        Some(leaf.0[place % LEAF].0)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The ranges, in order.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (B, B)> + '_ {
        self.leaves.iter().flat_map(|leaf| leaf.0).take(self.len)
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        let nodes: usize = self.levels.iter().map(|level| size_of_val(&**level)).sum();
        let boxes = self.levels.capacity() * size_of::<Box<[Node<B::Head>]>>();
        nodes + boxes + size_of_val(&*self.leaves)
    }
}

impl<B: Bits> Default for Ranges<B> {
    fn default() -> Self {
        Self::new(&[])
    }
}

// Both searches compare three keys at once, then what is left between two of them: half the steps
// of a binary search, and every cache line is asked for in the first one.

impl<H: Copy + Ord> Node<H> {
    /// The place of the last key that is not above `head`; the first where all are.
    fn last_begun(&self, head: H) -> usize {
        let Self(keys) = self;
        let begun = |at: usize| usize::from(keys[at] <= head);
        let group = 4 * (begun(4) + begun(8) + begun(12));
        group + begun(group + 1) + begun(group + 2) + begun(group + 3)
    }
}

impl<B: Bits> Leaf<B> {
    fn new(ranges: &[(B, B)]) -> Self {
        let last = ranges.len() - 1;
        Self(std::array::from_fn(|place| ranges[place.min(last)]))
    }

    /// The place of the last range that begins at or before `key`; the first where none does.
    fn last_begun(&self, key: B) -> usize {
        let Self(ranges) = self;
        let begun = |at: usize| usize::from(ranges[at].0 <= key);
        let pair = 2 * (begun(2) + begun(4) + begun(6));
        pair + begun(pair + 1)
    }
}

/// Builds the levels upwards from the heads of the leaves, until one node is left.
fn levels<H: Copy + Ord>(mut heads: Vec<H>) -> Vec<Box<[Node<H>]>> {
    let mut levels = Vec::new();
    let Some(&largest) = heads.last() else {
        return levels;
    };
    loop {
        let level: Box<[Node<H>]> = heads
            .chunks(FAN_OUT)
            .map(|keys| node(keys, largest))
            .collect();
        heads = level.iter().map(|node| node.0[0]).collect();
        levels.push(level);
        if heads.len() == 1 {
            break;
        }
    }
    levels.reverse();
    levels
}

fn node<H: Copy>(keys: &[H], filling: H) -> Node<H> {
    let mut node = Node([filling; FAN_OUT]);
    for (place, key) in node.0.iter_mut().zip(keys) {
        *place = *key;
    }
    node
}
