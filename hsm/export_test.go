package hsm

// Signed is what the record MAC key signs of a canary.
func (c Canary) Signed() []byte { return c.appendSigned(nil) }
