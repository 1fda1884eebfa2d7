//! Conversations without a socket: state machines that take bytes and give steps.
