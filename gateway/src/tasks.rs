//! What the process does beside requests: tasks that know the whole process, and lead parts that do not.

pub(crate) mod feeds;
pub(crate) mod nftables;
pub(crate) mod robots;
pub(crate) mod sidecars;
pub(crate) mod upstreams;
