package wire

// HeaderStateAge is the header of an answer from a state that may be old: how old, as
// a duration in whole milliseconds ("1.5s"). Other answers do not have it.
const HeaderStateAge = "X-Raftkms-State-Age"
