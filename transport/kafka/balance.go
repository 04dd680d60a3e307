package kafka

import (
	"github.com/IBM/sarama"
)

// strategies returns the ways to divide partitions that a member offers, made anew:
// some of sarama's keep state for one group. In a mixed group cooperative-sticky offers
// range too, which makes the member give everything up at each rebalance.
func (b Balance) strategies(mixed bool) []sarama.BalanceStrategy {
	switch b {
	case Range:
		return []sarama.BalanceStrategy{sarama.NewBalanceStrategyRange()}
	case RoundRobin:
		return []sarama.BalanceStrategy{sarama.NewBalanceStrategyRoundRobin()}
	case Sticky:
		return []sarama.BalanceStrategy{sarama.NewBalanceStrategySticky()}
	}
	s := []sarama.BalanceStrategy{sarama.NewBalanceStrategyCooperativeSticky()}
	if mixed {
		s = append(s, sarama.NewBalanceStrategyRange())
	}
	return s
}

// byOption stands in a configuration for the strategies of the option, so that it can be
// seen whether something has put others there.
type byOption struct{ sarama.BalanceStrategy }

func isByOption(s []sarama.BalanceStrategy) bool {
	if len(s) == 0 {
		return true
	}
	_, ok := s[0].(byOption)
	return ok
}

// offer returns the strategies with which a group session joins: those that were
// configured, or else by the option. chosen is
// called, before anything comes of it, with each assignment that this member gets by a
// strategy that can be cooperative: sarama itself tells a claim only by closing its
// channel, which one that reads nothing now would not see.
func (o *options) offer(configured []sarama.BalanceStrategy, mixed bool, chosen func(map[string][]int32)) []sarama.BalanceStrategy {
	offered := configured
	if isByOption(offered) {
		b := o.consuming.balance
		if b == CooperativeSticky && !o.version.IsAtLeast(sarama.V2_4_0_0) {
			b = Range
		}
		offered = b.strategies(mixed)
	}
	wrapped := make([]sarama.BalanceStrategy, len(offered))
	for i, s := range offered {
		wrapped[i] = s
		if protocols, ok := s.(sarama.RebalanceProtocolBalanceStrategy); ok {
			wrapped[i] = &watched{RebalanceProtocolBalanceStrategy: protocols, chosen: chosen}
		}
	}
	return wrapped
}

// watched is a strategy that tells what it was chosen for.
type watched struct {
	sarama.RebalanceProtocolBalanceStrategy
	chosen func(map[string][]int32)
}

// SubscriptionUserData implements sarama.SubscriptionUserDataBalanceStrategy.
func (w *watched) SubscriptionUserData(topics []string) ([]byte, error) {
	if s, ok := w.RebalanceProtocolBalanceStrategy.(sarama.SubscriptionUserDataBalanceStrategy); ok {
		return s.SubscriptionUserData(topics)
	}
	return nil, nil
}

// OnAssignment implements sarama.OnAssignmentBalanceStrategy.
func (w *watched) OnAssignment(a *sarama.ConsumerGroupMemberAssignment, generation int32) {
	if s, ok := w.RebalanceProtocolBalanceStrategy.(sarama.OnAssignmentBalanceStrategy); ok {
		s.OnAssignment(a, generation)
	}
	w.chosen(a.Topics)
}
