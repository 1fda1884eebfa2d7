//! MemoryNetwork.
