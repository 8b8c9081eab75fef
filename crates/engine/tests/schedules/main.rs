//! Properties of the engine in a simulated world.
//!
//! The world holds what the engine cannot see: which processes exist, what they left behind, which probes and hooks are
//! under way, which requests are open. Random acts ([`generators`], [`acts`]) change the world or the clock; each becomes
//! an event. After every event the world carries out the effects ([`perform`]) and checks the [`invariants`]: what must
//! never happen, and what must have happened by now. At the end a shutdown is requested and must finish in a bounded
//! number of steps.
//!
//! The [`world`] learns everything from the events ([`learn`]), so that an event journal ([`journals`]), from a failed case or from
//! `sexton --debug-journal`, is checked in the same way.

mod acts;
mod generators;
mod invariants;
mod journals;
mod learn;
mod perform;
mod world;

use proptest::prelude::*;
use world::World;

proptest! {
    // Seeds of proptest become invalid when a strategy changes: failures are kept as journals instead.
    #![proptest_config(ProptestConfig {
        cases: 1500,
        max_shrink_iters: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn invariants_hold_in_any_schedule_and_a_shutdown_finishes(
        plan in generators::plan(),
        seed in any::<u64>(),
        habits in generators::habits(),
        acts in proptest::collection::vec(generators::act(), 0..120),
    ) {
        let mut world = World::new(plan.clone(), seed, habits);
        if let Err(violation) = world.run(&acts) {
            let path = journals::write_failure(&world, &plan, seed);
            return Err(TestCaseError::fail(format!(
                "{violation}\njournal: {path} (move it to crates/engine/tests/journals to keep it as a test)"
            )));
        }
        let mut again = World::new(plan, seed, habits);
        let _ = again.run(&acts);
        prop_assert_eq!(&world.effects, &again.effects, "the same input has led to other effects");
    }
}
