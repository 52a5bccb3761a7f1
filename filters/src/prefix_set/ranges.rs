//! Disjoint ranges of numbers, sorted and merged, in a static search tree.
//!
//! The ranges lie in leaves of eight; each level above holds one key for every node below it,
//! sixteen to a node. A lookup counts without branches how many keys of one node per level are not
//! above the number that it looks for (the "S+ tree" of Khuong and Morin, "Array layouts for
//! comparison-based searching", 2017, section 5). Memory decides the cost: all levels of half a
//! million ranges fit into a core's cache, and the one leaf, which does not, holds first and last
//! numbers side by side, so that its lines are fetched at the same time.

/// Ranges per leaf.
const LEAF: usize = 8;
/// Keys per node above the leaves.
const FAN_OUT: usize = 16;

/// A number that addresses are kept as.
pub(super) trait Bits: Copy + Ord {
    /// The leading bits that the levels above the leaves compare, half as wide where that helps.
    type Head: Copy + Ord;

    const MAX: Self;

    fn head(self) -> Self::Head;

    /// The number after this one; the last has itself.
    fn successor(self) -> Self;
}

impl Bits for u32 {
    type Head = Self;

    const MAX: Self = Self::MAX;

    fn head(self) -> Self {
        self
    }

    fn successor(self) -> Self {
        self.saturating_add(1)
    }
}

impl Bits for u128 {
    type Head = u64;

    const MAX: Self = Self::MAX;

    fn head(self) -> u64 {
        (self >> 64) as u64
    }

    fn successor(self) -> Self {
        self.saturating_add(1)
    }
}

/// Sorts pairs of a first and a last number and joins those that overlap or touch.
pub(super) fn merge<B: Bits>(pairs: &mut Vec<(B, B)>) {
    pairs.sort_unstable();
    pairs.dedup_by(|next, open| {
        let joins = next.0 <= open.1.successor();
        if joins {
            open.1 = open.1.max(next.1);
        }
        joins
    });
}

/// Ranges that neither overlap nor touch.
#[derive(Debug)]
pub(super) struct Ranges<B: Bits> {
    /// Root first. Unused places at the end of a level repeat the last leaf's head.
    levels: Vec<Box<[Node<B::Head>]>>,
    /// Unused places at the end are filled with the largest number.
    leaves: Box<[Leaf<B>]>,
    len: usize,
}

#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Node<H>([H; FAN_OUT]);

#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Leaf<B> {
    firsts: [B; LEAF],
    lasts: [B; LEAF],
}

impl<B: Bits> Ranges<B> {
    /// Takes pairs of a first and a last number that [`merge`] has been through.
    pub(super) fn new(merged: &[(B, B)]) -> Self {
        let leaves: Box<[Leaf<B>]> = merged.chunks(LEAF).map(leaf).collect();
        Self {
            levels: levels(leaves.iter().map(|leaf| leaf.firsts[0].head()).collect()),
            leaves,
            len: merged.len(),
        }
    }

    /// The range that holds `key`.
    pub(super) fn find(&self, key: B) -> Option<(B, B)> {
        let at = self.leaf_of(key)?;
        let Leaf { firsts, lasts } = &self.leaves[at];
        // Both counts read the whole leaf; to pick the last number of the range that begins before
        // the key would wait for the one half of the leaf before asking for the other.
        let begun = firsts.iter().filter(|&&first| first <= key).count();
        let ended = lasts.iter().filter(|&&last| last < key).count();
        let filling = at * LEAF + ended >= self.len;
        (begun > ended && !filling).then(|| (firsts[ended], lasts[ended]))
    }

    /// The last leaf that begins at or before `key`.
    fn leaf_of(&self, key: B) -> Option<usize> {
        let head = key.head();
        let mut at = 0;
        for level in &self.levels {
            // What is not below the last leaf counts the filling too, which leads behind the end.
            at = at.min(level.len() - 1);
            let not_above = level[at].0.iter().filter(|&&other| other <= head).count();
            at = at * FAN_OUT + not_above.checked_sub(1)?;
        }
        at = at.min(self.leaves.len().checked_sub(1)?);
        if self.leaves[at].firsts[0] <= key {
            return Some(at);
        }
        // Several leaves share the head, so that the levels above could not tell them apart.
        let begun = self.leaves[..at].partition_point(|leaf| leaf.firsts[0] <= key);
        begun.checked_sub(1)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn heap_bytes(&self) -> usize {
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

fn leaf<B: Bits>(ranges: &[(B, B)]) -> Leaf<B> {
    let mut leaf = Leaf {
        firsts: [B::MAX; LEAF],
        lasts: [B::MAX; LEAF],
    };
    for (place, &(first, last)) in ranges.iter().enumerate() {
        leaf.firsts[place] = first;
        leaf.lasts[place] = last;
    }
    leaf
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
