//! Deliberate bugs, to prove that the tests would see them.
//!
//! Each is a classic mistake of a Paxos implementation. They exist only in the library's own tests,
//! and only with the feature `bugs`: everywhere else [`has`] is the constant `false`.
//! `bash/bugs.sh` switches on each and shows what catches it.
//!
//! The protocol is written without bugs. Its mistakes stand in files of their own, `mistakes.rs`,
//! which only a build with bugs has; `protocol::parts` has the form, and is the one place that
//! chooses. In `wire`, `storage` and `snapshots` a bug is one line at the place where it would be
//! made.

/// A mistake somebody has made before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A lost datagram counts as in the network for ever.
    NeverReopensWindow,
    /// An answered datagram leaves the network twice.
    CountsAnswersTwice,
    /// A value that the leader lacks waits for room that only its arrival can make.
    HoldsBackMissed,
    /// A leader waits for the votes of all acceptors.
    WaitsForSlowMinority,
    /// A quorum is a number of messages, not of acceptors.
    CountsMessages,
    /// Half of the acceptors are taken for a majority.
    HalfIsEnough,
    /// Votes of different ballots are added up.
    CountsOtherBallots,
    /// An accepted ballot is not promised.
    AcceptKeepsPromise,
    /// A ballot below the promised one is answered.
    AnswersBelowPromise,
    /// Votes of one ballot are confirmed under the next.
    AnswersUnderNextBallot,
    /// The answer to an Accept that was lost is not repeated.
    AnswersAcceptsOnce,
    /// A promise reports one instance of many.
    ReportsOneInstance,
    /// The first report of an instance counts, not that of the highest ballot.
    KeepsAnyReport,
    /// Promises of another ballot count.
    CountsStalePromises,
    /// One promise is enough.
    OnePromiseIsEnough,
    /// A long promise counts after its first page.
    ForgetsLaterPages,
    /// A promise counts when its last page is there, even if others are missing.
    LastPageIsEnough,
    /// A leader does not look at what was accepted before.
    SkipsReports,
    /// A value that a single acceptor had accepted is taken for chosen.
    DecidesReports,
    /// One acceptance decides.
    OneVoteIsEnough,
    /// A restarted proposer may use its old ballots.
    ReusesBallots,
    /// A restarted acceptor has forgotten what it promised.
    ForgetsPromises,
    /// A restarted acceptor has forgotten what it accepted.
    ForgetsVotes,
    /// A restarted acceptor has forgotten what it trimmed.
    ForgetsTrimming,
    /// An acceptor tells readers where the votes end that it has cast since it was started.
    ForgetsHighestVote,
    /// Where an acceptor has trimmed, it reports that it accepted nothing.
    ReportsTrimmedAsEmpty,
    /// An acceptor removes votes because a message says that they are not needed.
    TrimsOnHearsay,
    /// An acceptor drops votes from memory because a message says that they are not needed there.
    ForgetsOnHearsay,
    /// An acceptor has a new leader take up the log at a checkpoint that may not be decided.
    BeginsAtHalfACheckpoint,
    /// An acceptor does not tell learners that what new leaders need not read is decided.
    RecallsOnlyForgotten,
    /// One acceptor's vote is taken for the decision.
    RecallsFromOne,
    /// A vote is taken for the decision though another acceptor has a later one.
    RecallsAnyVote,
    /// Votes count that an acceptor reported before the instance was decided.
    CountsOldAnswers,
    /// Votes that were removed from a disk look as if there had been none.
    ReadsRemovedAsEmpty,
    /// Votes that cannot be read from a disk look as if there had been none.
    SkipsUnreadable,
    /// A new leader believes the acceptor that trimmed least.
    TakesLeastTrimmed,
    /// An acceptor stores votes for what it has trimmed.
    AcceptsTrimmed,
    /// Where it has trimmed, an acceptor votes in whichever ballot it is asked.
    VotesForTrimmed,
    /// A checkpoint does not say where sessions stand.
    CheckpointLacksSessions,
    /// A checkpoint does not say which values are open.
    CheckpointLacksParts,
    /// A checkpoint does not say which forgotten sessions are never begun again.
    CheckpointLacksHorizon,
    /// A checkpoint does not say the time of the log.
    CheckpointLacksTime,
    /// An entry that says an earlier time than one below it is handed out with that.
    TimesGoBack,
    /// A forgotten session may begin again.
    BeginsForgotten,
    /// A process that takes up the log at a checkpoint goes on knowing sessions that were forgotten
    /// meanwhile.
    MergesSessions,
    /// The same with the values in parts that were open when it was cut off.
    MergesParts,
    /// A learner that goes on from a snapshot does not look for the parts of values that were open.
    RestoresWithoutParts,
    /// The sessions that were active last are forgotten.
    ForgetsNewest,
    /// Sessions that have finished are forgotten no earlier than others.
    SparesNobody,
    /// Sessions that have finished are forgotten first, even the one that was active last.
    ForgetsAnyFinished,
    /// A leader takes a session for finished when nothing of it is under way.
    FinishesUnasked,
    /// A leader writes entries that a member does not know.
    WritesUnknownKinds,
    /// A client asks for ever for instances that are removed.
    AsksForRemoved,
    /// A client takes its values for lost because what won is removed.
    TakesRemovedForLost,
    /// A leader forgets sessions as its own settings say, before the log does.
    ForgetsUndecided,
    /// A leader that has missed what others have removed goes on, and names all that as decided.
    LeadsOnBehind,
    /// A log is trimmed at a checkpoint that only its leader has seen.
    TrimsUndecided,
    /// A torn or changed snapshot is not noticed.
    BelievesTornSnapshot,
    /// A chunk of one snapshot is put into the file of another.
    MixesSnapshots,
    /// A snapshot is fetched that does not reach the log any more.
    FetchesWhatIsTrimmed,
    /// A snapshot from before the cluster lost its data is fetched.
    FetchesOtherLog,
    /// A learner goes back to a snapshot of a place that it has passed.
    RestoresOlderSnapshots,
    /// A learner hands out what is decided while it fetches a snapshot of what comes before.
    DeliversWhileFetching,
    /// A snapshot gets its name before it is on stable storage.
    RenamesBeforeSync,
    /// A learner goes on from a snapshot from before the cluster lost its data.
    BelievesForeignSnapshot,
    /// The state made from a log is read before a leader has named that log.
    ReadsForeignSnapshot,
    /// A snapshot is taken between two pieces of a checkpoint.
    SnapshotsWithinCheckpoints,
    /// Snapshots of another log count as copies.
    CountsForeignCopies,
    /// A checkpoint does not say of which log it is.
    CheckpointLacksName,
    /// The log is removed although no keeper has a snapshot that stands for it.
    TrimsOnNoCopy,
    /// The log is removed as soon as one keeper has a snapshot that stands for it.
    TrimsOnOneCopy,
    /// A keeper that was started again counts as one more copy.
    CountsKeepersTwice,
    /// An acceptor answers before its disk has synced.
    AnswersBeforeSync,
    /// A torn frame at the end of the log is taken for a whole one.
    TrustsTornFrames,
    /// A file takes the place of another before its content is stable.
    TrustsCaches,
    /// How far the log is stable is noted before it is.
    NotesBeforeSync,
    /// The name of a new segment is not made stable before records in it are answered.
    LeavesNamesUnsynced,
    /// A segment is removed before the manifest that does not name it any more is stable.
    TrimsBeforeSync,
    /// A promise is removed with the segment that holds it.
    DropsPromiseWithSegment,
    /// A start takes the summary of a segment whose votes it needs.
    SkipsNeededSegments,
    /// A summary counts even if its checksum is wrong.
    TrustsBrokenSummaries,
    /// A log that is shorter than it was is taken for whole.
    AcceptsShorterLogs,
    /// Files that were put back from a copy are taken for the last state.
    UsesCopies,
    /// A client is told that it won an instance that somebody else won.
    TellsLosersTheyWon,
    /// A client is told that a value is decided as soon as the leader has it.
    AcksTooEarly,
    /// A value that was proposed twice is delivered twice.
    DeliversTwice,
    /// A session that is resumed cuts its values otherwise than before.
    CutsAnew,
    /// Parts of a value are put together in the order in which they were decided.
    TakesPartsOutOfOrder,
    /// A part that was decided twice is put into its value twice.
    TakesPartsTwice,
    /// A value is delivered when one part of it is still missing.
    DeliversWithoutLastPart,
    /// Parts of several sessions are put into one value.
    MixesSessions,
    /// A value may be longer or shorter than its first part says.
    IgnoresLengths,
    /// A learner does not wait for an instance that is missing.
    DeliversOverGaps,
    /// Nobody closes the holes that a dead leader left.
    LeavesHoles,
    /// A no-op may replace what is already proposed.
    ClosesHolesBlindly,
    /// A value that lost its place is not proposed again.
    ForgetsSkipped,
    /// A session whose values were proposed in part never gets another turn.
    ForgetsTurns,
    /// The acknowledgements of learners are not heard, and Decides are repeated for ever.
    DeafToDecideAcks,
    /// A lost Accept is not repeated.
    NeverRetriesAccepts,
    /// A lost request is not repeated.
    NeverRetriesRequests,
    /// A lost catch-up reply is not asked for again.
    AsksOnce,
    /// A leader that a quorum hears but does not answer holds on.
    LeadsWithoutProgress,
    /// A proposer campaigns before a quorum has answered an announcement since its suspicion.
    CampaignsUnheard,
    /// An echo without the own stamp counts as an answer.
    CountsAnyEcho,
    /// An answer of an acceptor counts for ever.
    VouchesForever,
    /// A leader that hears no quorum is waited for.
    FollowsUselessLeader,
    /// The same word of a proposer counts again whenever it is echoed.
    RepeatsTheDead,
    /// One refusal deposes a leader.
    YieldsToAnyNack,
    /// A leader whose ballot cannot win any more holds on.
    HoldsOnOutbid,
    /// A proposer that hears a quorum for a moment replaces a leader that waits for slow disks.
    SlowDisksDepose,
    /// Echoes are missed at the same time, however long they take.
    NeverLearnsSlowEchoes,
    /// Nobody takes over from a leader that cannot serve.
    IgnoresPleas,
    /// Any proposer that hears a plea takes over, even if its answers are not heard.
    TakesUnprovenPleas,
    /// Pleas from before the present leader count against it.
    CallsEarly,
    /// A client takes the answers of a leader without a quorum for service.
    ZombieServes,
    /// A client takes the answers to its pleas for answers to its requests.
    TakesPleasForRequests,
    /// A process that misses something asks one source, and no other.
    AsksOnlyFirst,
    /// A process that knows that others hold more asks as rarely as one that does not.
    AsksRarely,
    /// All proposers campaign at once.
    SameRankForAll,
    /// An acceptor that came back with less than it had is believed.
    BelievesRolledBack,
    /// Processes that count the acceptors differently hear each other.
    MixesQuorums,
    /// Datagrams are filled without regard to their limit.
    OverfillsDatagrams,
    /// Datagrams of another cluster are heard.
    HearsOtherClusters,
    /// A message for one process is sent to another.
    AnswersTheWrong,
    /// A repeated question goes to the same process alone, and its answer to the asker alone.
    NeverAsksTheGroup,
    /// A decision names what another ballot has proposed there.
    NamesAnyBallot,
    /// A decision names what an earlier life of the same proposer has proposed there.
    NamesAnyLife,
    /// Something is named as decided before a quorum has accepted it.
    NamesBeforeQuorum,
    /// Every instance below a decided one is named as decided.
    NamesHoles,
    /// A leader that learns that another ballot has won an instance goes on.
    LeadsAgainstDecisions,
    /// A process that lacks a named value waits until a heartbeat says that others hold more.
    WaitsForHeartbeats,
    /// A read counts answers to what was asked before it began.
    CountsStaleReplies,
    /// A read is served once one acceptor has answered.
    ServesBeforeQuorum,
    /// A read is served by a question that was asked before it began.
    JoinsReadsUnderway,
    /// A read is served when what it must see is decided, though not handed out.
    ServesUndelivered,
    /// An acceptor that has lost what it accepted is asked where that ends.
    CountsForgetfulReplies,
    /// A leader takes new values although too few acceptors have room for them.
    IgnoresFullDisks,
    /// Votes that found no room on a disk are answered.
    AnswersWithoutRoom,
    /// The piece of a frame that a full disk took stays in the log.
    LeavesTornFrames,
    /// A sync that failed is taken for a lack of room, and tried again.
    TrustsFailedSyncs,
    /// An acceptor whose disk is full does not vote for what makes room either.
    RefusesControlOnFullDisks,
    /// A checkpoint that makes room on full disks is written only when as much is new as always.
    WaitsForMoreOnFullDisks,
    /// A leader sends in the newer version of the wire although an acceptor does not read it.
    SpeaksAboveMembers,
    /// An acceptor that is silent is spoken to in the version that it read before.
    SpeaksAboveSilent,
    /// A client or learner that reads the older version alone pleads, and is not served.
    IgnoresOldCallers,
    /// A checkpoint does not say at which earlier ones the log may be trimmed.
    CheckpointLacksHistory,
    /// Entries that a leader has read after a restart count as no older than its leadership.
    CountsAgeAnew,
    /// All time that passes by the calendars of leaders makes the log older, jumps included.
    JumpsAge,
    /// A control entry of a kind that must be understood, and is not known, is passed as nothing.
    SkipsUnknownKinds,
    /// A leader removes what a learner needs that fetches a snapshot.
    IgnoresFetchers,
    /// A leader keeps the log for a learner that fetches a snapshot, however long that takes.
    WaitsForFetchersForever,
    /// A leader keeps the log for a learner only while everybody reads the newer version of the
    /// wire, and not while an acceptor is down.
    WaitsForFetchersInNewest,
    /// A learner that was offered the snapshots of a later release says that there are none.
    HidesLaterSnapshots,
}

/// Whether this bug is switched on.
#[cfg(not(all(test, feature = "bugs")))]
#[inline(always)]
pub const fn has(_bug: Bug) -> bool {
    false
}

#[cfg(all(test, feature = "bugs"))]
pub use self::switch::{ALL, has, switch_to};

#[cfg(all(test, feature = "bugs"))]
mod switch {
    use std::cell::Cell;

    use super::Bug;

    /// Every bug.
    pub const ALL: [Bug; 153] = [
        Bug::NeverReopensWindow,
        Bug::HoldsBackMissed,
        Bug::CountsAnswersTwice,
        Bug::WaitsForSlowMinority,
        Bug::CountsMessages,
        Bug::HalfIsEnough,
        Bug::CountsOtherBallots,
        Bug::AcceptKeepsPromise,
        Bug::AnswersBelowPromise,
        Bug::AnswersUnderNextBallot,
        Bug::AnswersAcceptsOnce,
        Bug::ReportsOneInstance,
        Bug::KeepsAnyReport,
        Bug::CountsStalePromises,
        Bug::OnePromiseIsEnough,
        Bug::ForgetsLaterPages,
        Bug::LastPageIsEnough,
        Bug::SkipsReports,
        Bug::DecidesReports,
        Bug::OneVoteIsEnough,
        Bug::ReusesBallots,
        Bug::ForgetsPromises,
        Bug::ForgetsVotes,
        Bug::ForgetsTrimming,
        Bug::ForgetsHighestVote,
        Bug::ReportsTrimmedAsEmpty,
        Bug::TrimsOnHearsay,
        Bug::ForgetsOnHearsay,
        Bug::BeginsAtHalfACheckpoint,
        Bug::RecallsOnlyForgotten,
        Bug::RecallsFromOne,
        Bug::RecallsAnyVote,
        Bug::CountsOldAnswers,
        Bug::ReadsRemovedAsEmpty,
        Bug::SkipsUnreadable,
        Bug::TakesLeastTrimmed,
        Bug::AcceptsTrimmed,
        Bug::VotesForTrimmed,
        Bug::CheckpointLacksSessions,
        Bug::CheckpointLacksParts,
        Bug::CheckpointLacksHorizon,
        Bug::CheckpointLacksTime,
        Bug::TimesGoBack,
        Bug::BeginsForgotten,
        Bug::MergesSessions,
        Bug::MergesParts,
        Bug::RestoresWithoutParts,
        Bug::ForgetsNewest,
        Bug::SparesNobody,
        Bug::ForgetsAnyFinished,
        Bug::FinishesUnasked,
        Bug::WritesUnknownKinds,
        Bug::AsksForRemoved,
        Bug::TakesRemovedForLost,
        Bug::ForgetsUndecided,
        Bug::LeadsOnBehind,
        Bug::TrimsUndecided,
        Bug::BelievesTornSnapshot,
        Bug::MixesSnapshots,
        Bug::FetchesWhatIsTrimmed,
        Bug::FetchesOtherLog,
        Bug::RestoresOlderSnapshots,
        Bug::DeliversWhileFetching,
        Bug::RenamesBeforeSync,
        Bug::BelievesForeignSnapshot,
        Bug::ReadsForeignSnapshot,
        Bug::SnapshotsWithinCheckpoints,
        Bug::CountsForeignCopies,
        Bug::CheckpointLacksName,
        Bug::TrimsOnNoCopy,
        Bug::TrimsOnOneCopy,
        Bug::CountsKeepersTwice,
        Bug::AnswersBeforeSync,
        Bug::TrustsTornFrames,
        Bug::TrustsCaches,
        Bug::NotesBeforeSync,
        Bug::LeavesNamesUnsynced,
        Bug::TrimsBeforeSync,
        Bug::DropsPromiseWithSegment,
        Bug::SkipsNeededSegments,
        Bug::TrustsBrokenSummaries,
        Bug::AcceptsShorterLogs,
        Bug::UsesCopies,
        Bug::TellsLosersTheyWon,
        Bug::AcksTooEarly,
        Bug::DeliversTwice,
        Bug::CutsAnew,
        Bug::TakesPartsOutOfOrder,
        Bug::TakesPartsTwice,
        Bug::DeliversWithoutLastPart,
        Bug::MixesSessions,
        Bug::IgnoresLengths,
        Bug::DeliversOverGaps,
        Bug::LeavesHoles,
        Bug::ClosesHolesBlindly,
        Bug::ForgetsSkipped,
        Bug::ForgetsTurns,
        Bug::DeafToDecideAcks,
        Bug::NeverRetriesAccepts,
        Bug::NeverRetriesRequests,
        Bug::AsksOnce,
        Bug::LeadsWithoutProgress,
        Bug::CampaignsUnheard,
        Bug::CountsAnyEcho,
        Bug::VouchesForever,
        Bug::FollowsUselessLeader,
        Bug::RepeatsTheDead,
        Bug::YieldsToAnyNack,
        Bug::HoldsOnOutbid,
        Bug::SlowDisksDepose,
        Bug::NeverLearnsSlowEchoes,
        Bug::IgnoresPleas,
        Bug::TakesUnprovenPleas,
        Bug::CallsEarly,
        Bug::ZombieServes,
        Bug::TakesPleasForRequests,
        Bug::AsksOnlyFirst,
        Bug::AsksRarely,
        Bug::SameRankForAll,
        Bug::BelievesRolledBack,
        Bug::MixesQuorums,
        Bug::OverfillsDatagrams,
        Bug::HearsOtherClusters,
        Bug::AnswersTheWrong,
        Bug::NeverAsksTheGroup,
        Bug::NamesAnyBallot,
        Bug::NamesAnyLife,
        Bug::NamesBeforeQuorum,
        Bug::NamesHoles,
        Bug::LeadsAgainstDecisions,
        Bug::WaitsForHeartbeats,
        Bug::CountsStaleReplies,
        Bug::ServesBeforeQuorum,
        Bug::JoinsReadsUnderway,
        Bug::ServesUndelivered,
        Bug::CountsForgetfulReplies,
        Bug::IgnoresFullDisks,
        Bug::AnswersWithoutRoom,
        Bug::LeavesTornFrames,
        Bug::TrustsFailedSyncs,
        Bug::RefusesControlOnFullDisks,
        Bug::WaitsForMoreOnFullDisks,
        Bug::SpeaksAboveMembers,
        Bug::SpeaksAboveSilent,
        Bug::IgnoresOldCallers,
        Bug::CheckpointLacksHistory,
        Bug::CountsAgeAnew,
        Bug::JumpsAge,
        Bug::SkipsUnknownKinds,
        Bug::IgnoresFetchers,
        Bug::WaitsForFetchersForever,
        Bug::WaitsForFetchersInNewest,
        Bug::HidesLaterSnapshots,
    ];

    thread_local! {
        /// The present bug of this thread. A run of the simulator or of the model is one thread, so
        /// several bugs can be hunted at a time.
        static PRESENT: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Whether this bug is switched on in this thread.
    pub fn has(bug: Bug) -> bool {
        PRESENT.get() == Some(bug)
    }

    /// From now on the code has this bug, or none, when this thread runs it.
    pub fn switch_to(bug: Option<Bug>) {
        PRESENT.set(bug);
    }
}
