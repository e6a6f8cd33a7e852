package failover

import (
	"context"

	"github.com/raftkms/raftkms/hsm/doctor"
)

// Survey adds to a report what the library shows of the device that calls go to:
// the first that answers.
func (p *Pair) Survey(ctx context.Context, r *doctor.Report) error {
	for _, m := range p.members {
		at := m.at.Load()
		if at.usable() != nil {
			continue
		}
		if device, is := at.module.Module.(interface {
			Survey(ctx context.Context, r *doctor.Report) error
		}); is {
			return device.Survey(ctx, r)
		}
	}
	return nil
}
