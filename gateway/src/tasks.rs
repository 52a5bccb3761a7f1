//! What the process does beside requests: tasks that know the whole process, and lead parts that do not.

pub(crate) mod sidecars;
