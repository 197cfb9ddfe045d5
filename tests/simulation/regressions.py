"""Histories that once went wrong, shrunk, by what was wrong: they are played for ever."""

from simulation.history import History

ANOTHERS_PUT = "a put that had not taken place was taken for done, for another node's bore the same stamp by chance"

SAME_STAMP_BEFORE = "a put that had not taken place was taken for done, for the version before bore the same stamp"

BEGUN_LATE = "a file was empty on the hub, for that came late to what a broken connection had asked for"

EMPTIED_IDENTITY = "the hub's identity was empty, for the hub came late to what a broken connection had asked for"

NOTED_MEANWHILE = "a link that a node had just noted was overrun by what the hub's own run received"

OLDER_STATE_OF_A_SLEEPER = "a run that slept in the rename of its state put the older one back"

ANOTHER_ATTEMPTS_LOCK = (
    "a run took the lock that its attempt before could not leave for its own, and put what that had sent"
)

_TEXTS = {
    "a sleeper that woke up wrote its own identity over the hub's": """
        nodes=cd tick=0 times=yes modes=yes appends=yes replaces=yes
        c sync meanwhile 9 d sync
    """,
    "a put got the stamp of the version before the last, and who had missed one saw no change": """
        nodes=bd tick=1000 times=yes modes=yes appends=yes replaces=yes
        b unpack f 1
        b sync
        d sync
        b unpack f 4
        b sync
        b unpack f 7
        b sync
        d sync
    """,
    "a put after a removal got the stamp of what had been removed": """
        nodes=bad tick=60000 times=yes modes=yes appends=yes replaces=yes
        b write f 1
        b sync
        a sync
        b write f 4
        world wait 122000
        d sync
        world wait 122000
        d sync
        a delete f
        a sync
        b sync
    """,
    "an edit on the hub hid under the fresh stamp of our own put, and was overrun": """
        nodes=a tick=1000 times=yes modes=yes appends=yes replaces=yes
        a write g 1
        a sync
        a write g 3
        hub write g 4
    """,
    "a stamp verified while its tick still lasted counted as settled": """
        nodes=ab tick=60000 times=no modes=yes appends=yes replaces=yes
        hub write d/f 3
        b write d/f 6
    """,
    "a run that found its lost reply's generation on the hub did not record it here": """
        nodes=b tick=0 times=yes modes=yes appends=yes replaces=yes
        b sync
        b write f 3
        b sync unanswered 7
        b sync
    """,
    "after two lost ends in a row a deleted file came back": """
        nodes=b tick=0 times=yes modes=yes appends=yes replaces=yes
        b sync
        b write f 3
        b sync unanswered 7
        b delete f
        b sync crash 11
    """,
    "a first state whose rename was missing was appended to under its final name": """
        nodes=a tick=0 times=yes modes=yes appends=yes replaces=yes
        a write d/f 3
        a sync crash 13
    """,
    "an edit after a crash before the record was a conflict with its own ancestor": """
        nodes=ab tick=0 times=yes modes=yes appends=yes replaces=yes
        a write d/f 1
        a sync
        b sync torn 13
        b write d/f 3
    """,
    "an edit after a crash was taken for what the crashed run had received": """
        nodes=bcd tick=0 times=yes modes=yes appends=yes replaces=yes
        d sync
        b unpack d/e/f 1
        b sync crash 13
        c sync unanswered 30
        c unpack d/e/f 4
    """,
    "a touch on the hub and an edit of another size were a conflict": """
        nodes=a tick=0 times=yes modes=yes appends=yes replaces=yes
        a write f 1
        a sync
        hub touch f
        a write f 2
    """,
    "a copy whose original became a directory stayed as everybody's file": """
        nodes=ab tick=0 times=yes modes=yes appends=yes replaces=yes
        b write d 1
        hub write d 3
        a write d/g 4
    """,
    "a hub that can't append was refused": """
        nodes=a tick=0 times=yes modes=yes appends=no replaces=yes
        hub write f 2
    """,
    "an edit of a version in conflict hid in the tick in which the conflict began": """
        nodes=a tick=60000
        hub write d 1
        a write d 2
        a sync
        hub write d 7
    """,
    "an edit of a conflict's copy hid in the tick in which the copy was laid": """
        nodes=b tick=60000 times=no
        b write f 2
        hub write f 3
        b sync
        b edit-copy-there 0 5
    """,
    "an edit of what had been moved on the hub hid in the tick of the version that was moved": """
        nodes=a tick=60000
        hub write g 1
        a sync
        a rename g f
        a sync
        hub write f 4
        hub unpack g 5
        a sync meanwhile 11 a delete f
    """,
    "a node whose first record was cut off did not know its own journal again": """
        nodes=ab
        b sync crash 19
        a write g 1
        a sync
        b sync unanswered 6
        b write g 3
    """,
    "what a broken lock's holder had displaced was put back after the plan was made, and came back": """
        nodes=a
        a write f 2
        a sync
        a rmtree f
        a sync cut 7
    """,
    "a run that was ended after it had announced itself overwrote what an earlier one had noted": """
        nodes=a
        a write g 1
        a sync
        a unpack g 5
        a sync torn 5
        a sync torn 20
        a sync crash 10
        hub write g 7
    """,
    "a hub that refused its identity was recorded all the same": """
        nodes=b
        b write g 2
        b sync refused 11
    """,
    "the hub's view was taken for the node's after a run that records nothing there": """
        nodes=ab
        a write d 1
        b original
        a sync
        b mirror
    """,
    "the hub's view was taken for the node's after a run in the other role": """
        nodes=b disk=yes
        hub write d 2
        b sync
        b swap
        b sync crash 10
        b swap
    """,
    "a node's state that was written anew, and shorter, was never read again": """
        nodes=ab
        b write f 2
        hub write f 4
        b sync
        b lose
        b sync unanswered 6
    """,
    "two links on both sides were never compared": """
        nodes=ab
        a link g 1
        b link g 2
        b sync refused 16
    """,
    "a restored hub was taken for the one that the node had left": """
        nodes=a
        a sync
        a write f 1
        hub backup
        a sync torn 13
        hub move
    """,
    "a time was set on an edit that had just been made, and hid it": """
        nodes=ab
        a write f 1
        a sync
        b sync
        a chmod f 600
        a sync
        b sync meanwhile 8 b write f 4
    """,
    "a name with a dot was never seen by another node on a hub that hides such names": """
        nodes=ab hides=yes
        a write .f 1
    """,
    "a .sync.ignore was never seen on a hub that hides names with a dot": """
        nodes=a hides=yes
        hub ignore d 1
    """,
    "a copy was never taken away on a hub that hides names with a dot": """
        nodes=ab hides=yes
        b write .d/f 6
        a write .d/f 7
    """,
    "a removal counted as done where the hub had refused the folder for what is displaced": """
        nodes=a
        a write g 4
        a sync
        a delete g
        a sync refused 6
    """,
    "a hub that ran as a node wrote over the identity that another node had just given it": """
        nodes=bc disk=yes
        b swap meanwhile 1 c sync crash 27
    """,
    "a state whose rename was missing was not seen by the directory that it lies in": """
        nodes=ad disk=yes
        a mkdir d
        a sync
        d swap crash 21
        d swap
    """,
    "a first state that was torn while it was written stopped who asked for it": """
        nodes=a disk=yes
        a swap torn 11
    """,
    "an edit that a one-way mode removes was moved in the place of the version that was known": """
        nodes=a
        a write f 1
        a sync
        a rename f d/f
        hub write f 3
        a original
    """,
    "a conflict that ended by equal contents let a stamp count as settled, for a copy was taken away in that run": """
        nodes=abc tick=60000 times=no hides=yes
        b write .f 3
        a write .f 4
        c write .f 5
        b sync
        b write .f 7
    """,
    "a file that was renamed on the hub over one of the same size and time was not seen": """
        nodes=a tick=1000
        a unpack f 2
        a unpack g 5
        a sync
        hub rename f g
    """,
    "an edit of what was to make room for a directory could not go back, for the directory lay there": """
        nodes=b
        hub write d 1
        b write d/f 8
        b sync
        b drop 0
        b sync meanwhile 1 hub write d 11
    """,
    "an original's run gave a file on the node, which was its source, the time that others had recorded": """
        nodes=ab
        hub unpack d 1
        b same d 1
        a sync
        b original
    """,
    "an original's run made a directory again on the node, for something new lay in it on the hub": """
        nodes=a
        a mkdir d
        a sync
        a rmdir d
        hub write d/f 1
        a original
    """,
    "a deletion came back, for a listing that was cut short without a word had made both sides forget the file": """
        nodes=a
        hub write f 2
        a sync
        a delete f
        a sync silent 2
    """,
    "a node took the hub's state for lost, for a listing that was cut short without a word did not show it": """
        nodes=a
        hub write d/f 1
        a sync
        hub delete d/f
        a sync silent 1
    """,
    "a file had its name before it had its bytes, and a power cut left it empty": """
        nodes=a
        hub write f 1
        a sync power 17
    """,
    "a put got the stamp of another version, for the hub showed times by another zone than it was told": """
        nodes=ab
        b unpack g 1
        hub zone 7200
        a unpack g 7
    """,
    "a node picked up what it had announced before the hub, running itself, had recorded something else": """
        nodes=a disk=yes
        a sync
        a write g 1
        hub unpack g 2
        a sync power 10
        a write g 3
        a swap
        a sync
    """,
    "half of a file that was read, to know whether it had changed, was taken for an edit, and undid a deletion": """
        nodes=a
        hub write g 1
        a sync
        a delete g
        a sync half 1
    """,
    "a lock in which something lay that the hub's listings hide was broken for ever": """
        nodes=ab hides=yes
        b master short 12
        a write .d/f 1
        b write .d/f 3
        a sync
        b master refused 11
    """,
    "a listing that was cut short without a word made a hub seem to have lost its identity": """
        nodes=ab disk=yes
        a sync torn 7
        b sync
        b sync silent 1
    """,
    "a link in conflict was pointed elsewhere in the tick in which it was seen, and was overrun": """
        nodes=a tick=60000
        a write d 2
        hub link d 3
        a sync
        hub link d 5
    """,
    "the hub's own run took a node's copy for a file, for that node's state had only its new name yet": """
        nodes=bd disk=yes
        b write f 3
        hub unpack d/f 5
        d link d/f 7
        b sync
        d sync unanswered 12
        b swap
    """,
    "a power cut took the end of what was remembered of another's state, and its copy was taken for a file": """
        nodes=ab
        a write g 1
        b sync
        a sync
        b write g 2
        b sync
        a sync power 3
    """,
    "what an ended run had put under a hidden name, and was deleted then, stayed on the hub unseen": """
        nodes=b hides=yes
        b sync
        b write d/.f 4
        b sync crash 10
        b delete d/.f
    """,
    "a noted link that had been moved aside kept a broken lock from being taken away": """
        nodes=ab mixed=yes
        b link d/f 1
        b sync
        b delete d/f
        b original torn 16
    """,
    "an edit of a copy that an ended run had laid hid in the tick in which it was laid": """
        nodes=b tick=60000 times=no
        b sync
        b write d 2
        hub write d/e/f 3
        b sync power 10
        b sync
        b delete d
        b edit-copy-there 0 8
    """,
    "a link that an ended run had put was no part of its journal, and its edit was a conflict with it": """
        nodes=a
        a sync
        a link d 2
        a sync crash 9
        a sync torn 11
        a write d 3
    """,
    "a power cut cut off what a directory had just written into its own table of links": """
        nodes=abcd disk=yes mixed=yes
        b link f 1
        b sync
        b swap power 9
    """,
    "an edit was a conflict with what the hub's own run had brought, which was ended before it was recorded": """
        nodes=a disk=yes
        a sync
        hub write f 1
        a swap crash 15
        a write f 3
        a sync
    """,
    "what the hub's own run had brought before it was ended came back when it was deleted": """
        nodes=a disk=yes
        a sync
        hub write f 1
        a swap crash 15
        a delete f
        a sync
    """,
    "what was deleted on the hub came back, for its own run was ended when it had recorded on one side": """
        nodes=a disk=yes
        a write f 1
        a sync
        a write f 3
        a swap unanswered 10
        hub delete f
        a sync
    """,
    "a conflict was forgotten, for the node lost its disk while it was open": """
        nodes=ab
        a write d/f 1
        hub write d/f 2
        a sync
        a lose
        a sync
        b sync
    """,
    "a copy became a file of its own, for a run was ended before it had brought it up to date": """
        nodes=ab
        hub write f 2
        a write f 3
        a sync
        b sync
        b unpack f 4
        a write d/f 5
        b sync
        hub link d/f 6
        a sync torn 14
    """,
    "a copy became a file of its own, for the hub showed its time by another zone": """
        nodes=a
        a write f 1
        hub write f 2
        a sync
        hub zone 7200
    """,
    "a copy became a file of its own, for somebody had touched it": """
        nodes=a
        a write f 1
        hub write f 2
        a sync
        a touch-copy 0
        a touch-copy-there 0
    """,
    "a node was told that the hub had lost its identity, while the hub's own run was giving it one": """
        nodes=b disk=yes
        world together 0 b sync | b swap
    """,
    "a run's staging folder could not be made, for the other side's run took away what was above it": """
        nodes=a disk=yes
        hub link f 1
        a sync
        world together 18 a sync | a swap
    """,
    "a run gave up where another, which went about its work in rounds, had overtaken it twice": """
        nodes=a disk=yes
        a sync
        hub unpack f 1
        a swap
        a link g 3
        world together 1 a sync | a swap meanwhile 3 hub same g 1
    """,
    "a hub that was just recording what it had done, running itself, was taken for a restored one": """
        nodes=a disk=yes
        a write d/f 1
        a swap
        a sync
        a swap crash 10
        world together 3 a sync | a swap
    """,
    "a hub's own run that slept in the middle of its record wrote over what the node had recorded since": """
        nodes=bc disk=yes
        world together 20 c sync | b sync | b swap
    """,
    "a run broke off, for it had read the hub's state while the hub, running itself, had recorded on one side only": """
        nodes=ab disk=yes
        a swap
        b mkdir d/e/f
        b sync
        world together 10 b sync | a sync | a swap | a same d/e/f 0
    """,
    "an edit on the hub between the plan and the renames hid in the minute of the version that was replaced": """
        nodes=a tick=60000
        hub write g 3
        a sync
        a link g 4
        a sync meanwhile 2 hub write g 6
    """,
    "a removal counted as done where the hub had refused the folder for what is displaced, along with the lock": """
        nodes=a tick=60000 times=no
        a write f 5
        a sync
        a delete f
        a sync refused 4
    """,
    "the copy of a conflict that a mirror's run had settled stayed on a hub that hides names with a dot, unseen": """
        nodes=ab hides=yes
        b write .f 2
        b sync
        a write .f 4
        a sync
        a mirror
    """,
    "a state that was just replaced, on a hub that replaces nothing, was not found, and its copies became files": """
        nodes=abc appends=no replaces=no hides=yes
        a write f 5
        b sync
        b write f 6
        world together 895 b sync | a sync | c sync
        a edit-copy 0 8
        world together 423 b sync | a sync | c touch f
    """,
    "a link that was to take the place of a conflict's copy, and did not, was taken for the copy": """
        nodes=b
        b link f 2
        hub write f 3
        b link d/f 4
        b sync
        b rename d/f f
        hub delete d/f
        b sync cut 6
    """,
    "a run broke off, for a run in the other role, which had slept, ended its record in that moment": """
        nodes=ab disk=yes
        a swap
        b write d/f 1
        b sync
        a sync
        world together 554 a sync | a swap
    """,
    "a noted link in the trash was forgotten without a lock, when its time was over": """
        nodes=ab links=no
        a link d 3
        b write d/g 7
        a clock -86400
        a sync
        a write d 8
        b sync cut 7
    """,
    "what an ended run had removed, and somebody brought back since, was removed again": """
        nodes=acd
        c write g 1
        a unpack f 2
        c sync
        a sync
        d sync
        d rename f g
        world together 122 a sync | d sync cut 16 | c sync
        a rename g f
    """,
    "the journal of the hub's own ended run counted once more, for a later run had not recorded itself on the node": """
        nodes=ab disk=yes
        b swap crash 23
        b unpack f 1
        hub write d/f 2
        a sync cut 4
        a swap
        b sync crash 22
        hub delete f
    """,
    "a directory was made where another node had just noted a link, which was taken for ended": """
        nodes=ab links=no
        b sync
        b link d/e 1
        world together 472 a sync | b sync | a write d/e/f 3
    """,
    "links made in one minute were taken for each other, for another node's state vouched for the old one": """
        nodes=abc tick=60000 hides=yes
        hub link d 1
        c link d 2
    """,
    "a node whose record had been cut off did not know what the hub's own run, ended after that, had brought": """
        nodes=ad disk=yes
        d sync
        a sync cut 11
        d write f 3
        d sync
        a unpack g 4
        a swap cut 11
        a write f 5
    """,
    "a run gave up, for the hub's own run with this node overtook it four times": """
        nodes=abc disk=yes
        c swap
        b link f 1
        b sync
        a swap
        c swap
        world together 173 a sync crash 11 | c sync refused 3
        world together 297 a sync | a swap
    """,
    "a version that was deleted after a first run had been ended counted as lost with the disk": """
        nodes=ab
        hub write d/f 1
        b sync
        a write d 4
        a sync unanswered 11
        a delete d
    """,
    "a copy became a file, for a state on a restored hub had the size again that another node had read": """
        nodes=abc appends=no links=no hides=yes
        b write d 1
        a sync
        b sync
        hub backup
        a sync
        c sync
        hub restore
        b write d 5
        b sync
    """,
    "a copy that somebody renamed over its original on the hub, in one minute with it, was not seen by other nodes": """
        nodes=ab tick=60000
        b write f 1
        hub same f 1
        a write f 4
        world wait 3600000
        a sync
        b sync
        a take-there 0
        b sync
    """,
    "a deletion came back, for who had just been sent the file, and was cut off, touched it": """
        nodes=ab hubs=yes
        a write d/f 1
        a sync2
        a sync meanwhile 9 hub2 rmtree d/f
        a sync2 meanwhile 3 b sync torn 11
        b touch d/f
    """,
    "a stamp counted as settled, for what lay under it had only been touched in that minute": """
        nodes=ab tick=60000
        b write g 1
        b sync
        hub touch g
        b chmod g 755
        b sync
        a sync
        hub write g 7
    """,
    "a lock that had just been taken was moved aside, for nobody had been in it when it was looked at": """
        nodes=ab replaces=no hides=yes strict=yes
        hub unpack d/f 1
        a sync refused 20
        a write f 2
        world together 70 a sync | b sync
    """,
    ANOTHER_ATTEMPTS_LOCK: """
        nodes=ab disk=yes
        hub write d/e/f 1
        b swap
        a sync
        b unpack d/e/f 5
        b sync
        b write d/e/f 6
        a swap cut 9
        world together 526 a sync | b sync | a swap short 9
    """,
    "a conflict's copy under a hidden directory, laid by an ended run, was in the way of its next try for ever": """
        nodes=abc hides=yes
        a mkdir .d/f
        c unpack d 2
        a sync
        b write .f 3
        b sync
        c write .f 7
        c write .d/f 8
        c sync crash 20
    """,
    "a run that was ended had announced less than what it took the place of, and a copy became a file": """
        nodes=abcd disk=yes mixed=yes
        b link d/g 4
        c unpack d/g 6
        world together 410 b sync | a sync | d swap
        c swap torn 29
        d swap
        c sync cut 9
    """,
    "what a run ended on either side had done was not known, for only the node had it recorded": """
        nodes=ab disk=yes
        a write f 1
        a sync meanwhile 20 b swap
        a write f 3
        a swap torn 6
    """,
    "a run broke off, for one in the other role recorded once more what had been made up for": """
        nodes=abc disk=yes
        c sync
        hub write f 1
        a swap
        c swap
        c unpack d 3
        c swap torn 7
        c write f 4
        a write d/f 5
        world together 16 a sync | c sync | c swap
    """,
    "a copy became a file, for the other side's run had begun its journal after that had been looked for": """
        nodes=a disk=yes
        a sync meanwhile 2 a unpack f 2
        hub write d 4
        a write d 6
        a sync
        a write f 7
        a swap
        a delete f
        world together 141 a sync cut 10 | a swap
    """,
    "a copy became a file, for the other side's run had announced it, but not yet begun its journal": """
        nodes=ab disk=yes
        a swap
        b sync
        a rename d d
        b write d/e/f 1
        a unpack d/e/f 2
        hub write d/e 3
        world together 64 a sync | b sync torn 11 | b swap
        b take 0
    """,
    "a file that another node had just brought, and somebody renamed over one like it, was not seen": """
        nodes=ab tick=1000
        a write f 2
        a sync
        b write d/e/f 5
        b sync
        hub rename d/e/f f
    """,
    "what another node had put below a directory was overwritten, for this one was to make that directory itself": """
        nodes=ac
        c write d 2
        c sync
        a sync
        a delete d
        a write d/f 9
        c rename d f
        world together 930 a sync | c sync | c write d/f 8
    """,
    "an edit on the hub hid in the minute of the version that was replaced, for the node's clock had been set": """
        nodes=b tick=60000
        b write g 2
        b clock -86400
        hub write f 3
        b sync
        b rename g f
        b clock 1
        b sync meanwhile 6 hub write f 6
    """,
    ANOTHERS_PUT: """
        nodes=ab tick=1000 hides=yes
        a sync
        b write d/f 1
        b sync crash 3
        a write d/f 4
        world together 5 a sync unanswered 7 | b sync
    """,
    SAME_STAMP_BEFORE: """
        nodes=a times=no tick=60000
        a write f 2
        a sync
        a write f 5
        a sync crash 11
    """,
    "a deletion came back, for a listing had left out a part of the node's state": """
        nodes=b appends=no
        b link d/g 1
        b unpack d/f 2
        hub write d/g 3
        b sync
        world together 559 b sync silent 1 | b delete d/f
    """,
    OLDER_STATE_OF_A_SLEEPER: """
        nodes=a disk=yes
        a write f 2
        hub write f 3
        a write d/f 4
        a swap meanwhile 28 a sync silent 2
    """,
    "a deletion came back, for a hub seemed new in a cut listing to a node that had only begun to meet it": """
        nodes=b
        hub write d/e 1
        b sync power 25
        b delete d/e
        b sync silent 1
    """,
    "what an ended run had received counted as settled, and another's put in that minute was not seen": """
        nodes=ab tick=60000 times=no
        a unpack d 1
        hub write f 3
        a sync
        a write d 4
        b sync power 14
    """,
    BEGUN_LATE: """
        nodes=a
        a write f 2
        a sync late 7 0
    """,
    "a file that was renamed on the hub over one like it was not seen, for another had taken its old name since": """
        nodes=ab hubs=yes
        b write d/f 1
        hub2 unpack f 2
        b write f 4
        hub2 same d 1
        b sync
        hub rename f d/f
        a sync2
    """,
    EMPTIED_IDENTITY: """
        nodes=a
        a write f 2
        a sync late 11 2
    """,
    "a state was empty, for the hub came late to what a broken connection had asked for": """
        nodes=a
        a write f 2
        a sync late 16 2
    """,
    "a state that was written a second time was empty, for the first one's command came late": """
        nodes=ab
        a write f 2
        hub write g 3
        a sync late 14 7
        b write f 4
        b delete g
    """,
    "the hub's state of a node was gone, for what was to make room for it was removed late": """
        nodes=a replaces=no
        a write f 2
        a sync late 18 1
        a write f 4
    """,
    NOTED_MEANWHILE: """
        nodes=ab disk=yes mixed=yes
        b link f 2
        a link f 3
        world together 35 b sync | a swap
    """,
    "what a node's ended run had done was forgotten, for a known one of the hub's own was yet to be recorded there": """
        nodes=b disk=yes
        b write d/f 1
        b swap torn 28
        b write f 4
        b sync unanswered 35
        b unpack f 6
    """,
    "a directory that an ended run had made under a hidden name stayed unseen, for its node had lost its disk": """
        nodes=ab hides=yes
        b link .d/f 4
        world together 242 a sync | b sync crash 15
        b lose
    """,
    "what an ended run had put was forgotten, for the hub showed its time by another zone by then": """
        nodes=a
        a write d/g 1
        a sync power 20
        hub zone -3600
        a sync torn 22
        a unpack d/g 7
    """,
    "a file under a hidden name stayed on the hub unseen, for its node's backup did not know of it": """
        nodes=a hides=yes
        a sync
        a backup
        a unpack .f 2
        a sync
        a restore
    """,
    "a run that had settled a conflict was ended before it took the copy away, which became a file": """
        nodes=ab
        hub write d/e 2
        b write d/e 3
        a write d/e/f 6
        b sync
        b drop-there 0
        b sync power 10
    """,
    "what an ended run in mode mirror had received was unknown to the next run": """
        nodes=a
        a write g 9
        a sync
        hub write f 1
        a mirror crash 7
        a write f 3
        a sync
    """,
    "a mirror's run was ended before it had noted what it left, and a backup seemed to have come back": """
        nodes=a
        hub write g 9
        a sync
        hub write f 1
        a mirror
        hub write h 2
        a mirror crash 8
        a delete g
        a sync
    """,
    "the hub seemed to have lost its identity, for a node's first run, as a mirror, had been ended": """
        nodes=a
        hub write f 1
        a mirror crash 8
        a write f 3
        a sync
    """,
    "what a mirror had recorded of a hub seemed to be a backup to the hub's own run": """
        nodes=a disk=yes
        hub write f 1
        hub write g 2
        a sync
        hub write g 3
        a mirror
        a delete f
        a swap
    """,
    "a put that had not taken place was taken for done, for another's was still in the same minute": """
        nodes=ab tick=60000 times=no
        a write f 1
        a sync crash 17
        b write f 4
        b sync
    """,
    "a put that had not taken place was taken for done, for another's ended run had put one like it": """
        nodes=ab
        a sync
        b sync
        a unpack f 1
        a sync crash 9
        b unpack f 4
        b sync crash 36
    """,
    "a copy that an ended run had laid became a file, for the hub showed its time by another zone by then": """
        nodes=a
        a write f 1
        hub write f 2
        a sync crash 20
        hub zone 7200
        a sync
    """,
    "a copy that an ended run had brought up to date became a file, for it was touched since": """
        nodes=a
        a write f 1
        hub write f 2
        a sync
        a write f 4
        a sync crash 12
        a touch-copy-there 0
        a sync
    """,
    "a copy that an ended run had yet to take away became a file, for no listing showed it": """
        nodes=ab
        a write f 1
        hub write f 2
        a sync
        a drop 0
        a sync crash 11
        a sync silent 13
    """,
    "a copy became a file, for a one-way run that had settled its conflict was ended before it took it away": """
        nodes=a
        a write f 1
        hub write f 2
        a sync
        a master crash 11
        a master
    """,
    "a copy that the hub's own ended run had laid became a file, for it could not be read": """
        nodes=ab disk=yes
        a write f 1
        hub write f 2
        a swap crash 21
        a sync refused 34
    """,
    "a copy that an ended run had laid became a file, for its directory could not be listed": """
        nodes=a
        a write d/f 1
        hub write d/f 2
        a sync crash 22
        a sync unlisted 14
    """,
    "a conflict's copy became a file, for no listing showed it when the conflict was settled": """
        nodes=ab
        a write g 1
        a sync
        b write g 4
        b sync
        b delete g
        b sync silent 2
    """,
    "a late order recorded in the directory of a run at work, which says that it has to run again": """
        nodes=a disk=yes
        a sync
        hub ignore d 3
        a swap late 11 15
        a sync
    """,
    "a late order of another run's changed the hub while a mirror was at work, which itself wrote nothing there": """
        nodes=ab
        b write d/f 1
        b original late 1 34
        a mirror
    """,
    "a link that was noted on the hub is made real by the hub's own run, though its node excludes it": """
        nodes=abcd disk=yes mixed=yes
        c ignore d/f 1
        b link d/f 2
        b sync
        c swap
    """,
}

REGRESSIONS = {title: History.parse(text) for title, text in _TEXTS.items()}
