//! The accept loops, as something that one process has at a time.

use std::{io, sync::Arc};

use crate::{handover::HandedOver, state::State};

/// While a successor proves itself it alone accepts: what it is given is its own, and what it cannot
/// serve waits in the system's queue, from which this process takes it where the successor fails.
pub(super) struct Accepting(pub(super) Arc<State>);

impl HandedOver for Accepting {
    fn name(&self) -> &'static str {
        "doors"
    }

    fn hand_over(&self) -> io::Result<Vec<u8>> {
        self.0.accepting.send_replace(false);
        Ok(Vec::new())
    }

    fn take_back(&self) -> io::Result<()> {
        self.0.accepting.send_replace(true);
        Ok(())
    }
}
