package kafka

import (
	"github.com/IBM/sarama"
)

// strategies returns the strategies that a member offers to its group. It makes new ones for
// each group, because some of sarama's strategies keep the state of a group. With rangeToo,
// CooperativeSticky also offers range. The member then releases all partitions at each
// rebalance.
func (b Balance) strategies(rangeToo bool) []sarama.BalanceStrategy {
	switch b {
	case Range:
		return []sarama.BalanceStrategy{sarama.NewBalanceStrategyRange()}
	case RoundRobin:
		return []sarama.BalanceStrategy{sarama.NewBalanceStrategyRoundRobin()}
	case Sticky:
		return []sarama.BalanceStrategy{sarama.NewBalanceStrategySticky()}
	}
	s := []sarama.BalanceStrategy{sarama.NewBalanceStrategyCooperativeSticky()}
	if rangeToo {
		s = append(s, sarama.NewBalanceStrategyRange())
	}
	return s
}

// strategyPlaceholder stands in a sarama configuration for the strategies of WithBalance. If
// it is missing, WithSaramaConfig has set other strategies.
type strategyPlaceholder struct{ sarama.BalanceStrategy }

func hasPlaceholder(s []sarama.BalanceStrategy) bool {
	if len(s) == 0 {
		return true
	}
	_, ok := s[0].(strategyPlaceholder)
	return ok
}

// groupStrategies returns the strategies with which a group session joins: the configured
// ones, or else those of WithBalance.
//
// onAssignment is called with each assignment that this member gets by a strategy that can
// be cooperative, before sarama acts on it. sarama itself reports the loss of a claim only
// by closing its channel. If nothing reads from the claim at that moment, nothing would
// detect the loss.
func (o *options) groupStrategies(configured []sarama.BalanceStrategy, rangeToo bool, onAssignment func(map[string][]int32)) []sarama.BalanceStrategy {
	offered := configured
	if hasPlaceholder(offered) {
		b := o.consumer.balance
		if b == CooperativeSticky && !o.version.IsAtLeast(sarama.V2_4_0_0) {
			b = Range
		}
		offered = b.strategies(rangeToo)
	}
	wrapped := make([]sarama.BalanceStrategy, len(offered))
	for i, s := range offered {
		wrapped[i] = s
		if protocols, ok := s.(sarama.RebalanceProtocolBalanceStrategy); ok {
			wrapped[i] = &observedStrategy{RebalanceProtocolBalanceStrategy: protocols, onAssignment: onAssignment}
		}
	}
	return wrapped
}

// observedStrategy is a strategy that calls onAssignment.
type observedStrategy struct {
	sarama.RebalanceProtocolBalanceStrategy
	onAssignment func(map[string][]int32)
}

// SubscriptionUserData implements sarama.SubscriptionUserDataBalanceStrategy.
func (w *observedStrategy) SubscriptionUserData(topics []string) ([]byte, error) {
	if s, ok := w.RebalanceProtocolBalanceStrategy.(sarama.SubscriptionUserDataBalanceStrategy); ok {
		return s.SubscriptionUserData(topics)
	}
	return nil, nil
}

// OnAssignment implements sarama.OnAssignmentBalanceStrategy.
func (w *observedStrategy) OnAssignment(a *sarama.ConsumerGroupMemberAssignment, generation int32) {
	if s, ok := w.RebalanceProtocolBalanceStrategy.(sarama.OnAssignmentBalanceStrategy); ok {
		s.OnAssignment(a, generation)
	}
	w.onAssignment(a.Topics)
}
