# SPDX-License-Identifier: GPL-2.0-or-later
"""
The result of each call on the objects of arena.py, following the list of pjdfstest: USER CALL ARGUMENTS -> the error,
or what a success shows. That is mode and owner of what the call made or changed, and NAME:TIMES for each object whose
atime, mtime or ctime changed; "ok" stands for neither.

Rows that depend on fs.protected_* of sysctl(8) are left out: the kernel decides them before it asks a file system.
"""

CASES = {
    "chmod": """
root chmod 600 file                            -> mode=600 file:c
root chmod 644 file                            -> file:c
root chmod 7777 file                           -> mode=7777 file:c
root chmod 1755 dir                            -> mode=1755 dir:c
root chmod 600 link                            -> file:c
root chmod 600 dirlink                         -> dir:c
root chmod 600 fifo                            -> mode=600 fifo:c
alice chmod 600 alices                         -> mode=600 alices:c
alice chmod 4755 alices                        -> mode=4755 alices:c
alice chmod 1644 alices                        -> mode=1644 alices:c
alice chmod 600 bobs                           -> EPERM
alice chmod 644 bobs                           -> EPERM
alice chmod 600 sticky                         -> EPERM
alice chmod 2755 shared                        -> mode=755 shared:c
alice chmod 2755 alices                        -> mode=2755 alices:c
member chmod 660 shared                        -> EPERM
root chmod 600 missing                         -> ENOENT
root chmod 600 missing/x                       -> ENOENT
root chmod 600 file/x                          -> ENOTDIR
root chmod 600 dangling                        -> ENOENT
root chmod 600 loop                            -> ELOOP
root chmod 600 deeploop                        -> ELOOP
root chmod 600 {256}                           -> ENAMETOOLONG
root chmod 600 {255}/{256}                     -> ENOENT
root chmod 600 {4096}                          -> ENAMETOOLONG
root chmod 600 {empty}                         -> ENOENT
alice chmod 600 closed/file                    -> EACCES
alice chmod 600 shut/file                      -> mode=600 shut/file:c
alice chmod 600 blind/file                     -> mode=600 blind/file:c
""",
    "chown": """
root chown 1001 1002 file                      -> owner=1001,1002 file:c
root chown -1 -1 file                          -> file:c
root chown -1 5000 file                        -> owner=0,5000 file:c
root chown 0 0 file                            -> file:c
root chown 1001 1001 link                      -> file:c
root lchown 1001 1001 link                     -> owner=1001,1001 link:c
root lchown 1001 1001 dangling                 -> owner=1001,1001 dangling:c
root chown 1001 1001 dangling                  -> ENOENT
root chown 1001 1001 dir                       -> owner=1001,1001 dir:c
root chown 1002 1002 setid                     -> mode=755 owner=1002,1002 setid:c
alice chown -1 1001 setid                      -> mode=755 setid:c
alice chown 1001 -1 setid                      -> mode=755 setid:c
alice chown -1 -1 setid                        -> mode=755 setid:c
alice chown -1 -1 alices                       -> alices:c
alice chown -1 1001 alices                     -> alices:c
alice chown 1001 1001 alices                   -> alices:c
alice chown -1 1002 alices                     -> EPERM
alice chown 1002 -1 alices                     -> EPERM
alice chown -1 1001 shared                     -> owner=1001,1001 shared:c
alice chown -1 5000 shared                     -> shared:c
member chown -1 5000 bobs                      -> owner=1002,5000 bobs:c
member chown -1 5000 shared                    -> EPERM
member chown -1 5000 alices                    -> EPERM
alice chown -1 -1 bobs                         -> bobs:c
alice chown 1002 1002 bobs                     -> EPERM
root chown 1 1 missing                         -> ENOENT
root chown 1 1 file/x                          -> ENOTDIR
root chown 1 1 loop                            -> ELOOP
root chown 1 1 {256}                           -> ENAMETOOLONG
root chown 1 1 {4096}                          -> ENAMETOOLONG
root chown 1 1 {empty}                         -> ENOENT
alice chown -1 1001 closed/file                -> EACCES
alice chown -1 1001 shut/file                  -> shut/file:c
""",
    "link": """
root link file new                             -> .:mc file:c
root link link new                             -> .:mc link:c
root link dangling new                         -> .:mc dangling:c
root link fifo new                             -> .:mc fifo:c
root link file dir/new                         -> dir:mc file:c
root link missing new                          -> ENOENT
root link file missing/new                     -> ENOENT
root link file/x new                           -> ENOTDIR
root link file other/x                         -> ENOTDIR
root link file other                           -> EEXIST
root link file dir                             -> EEXIST
root link file dangling                        -> EEXIST
root link dir new                              -> EPERM
root link loop/x new                           -> ELOOP
root link file loop/x                          -> ELOOP
root link file {256}                           -> ENAMETOOLONG
root link {256} new                            -> ENAMETOOLONG
root link file {4096}                          -> ENAMETOOLONG
root link {empty} new                          -> ENOENT
root link file {empty}                         -> ENOENT
alice link alices new                          -> EACCES
alice link alices home/new                     -> alices:c home:mc
alice link sticky/bobs home/new                -> home:mc sticky/bobs:c
alice link alices sticky/new                   -> alices:c sticky:mc
alice link alices shut/new                     -> EACCES
alice link alices blind/new                    -> alices:c blind:mc
alice link closed/file home/new                -> EACCES
alice link alices closed/new                   -> EACCES
alice link setid home/new                      -> home:mc setid:c
""",
    "mkdir": """
root mkdir new 755                             -> mode=755 owner=0,0 .:mc
root mkdir new 7777                            -> mode=1777 owner=0,0 .:mc
root mkdir setgid/new 755                      -> mode=2755 owner=0,5000 setgid:mc
alice mkdir setgid/new 750                     -> mode=2750 owner=1001,5000 setgid:mc
alice mkdir home/new 000                       -> mode=0 owner=1001,1001 home:mc
alice mkdir sticky/new 777                     -> mode=777 owner=1001,1001 sticky:mc
alice mkdir new                                -> EACCES
alice mkdir shut/new                           -> EACCES
alice mkdir closed/new                         -> EACCES
alice mkdir blind/new                          -> mode=755 owner=1001,1001 blind:mc
root mkdir dir                                 -> EEXIST
root mkdir file                                -> EEXIST
root mkdir link                                -> EEXIST
root mkdir dirlink                             -> EEXIST
root mkdir dangling                            -> EEXIST
root mkdir loop                                -> EEXIST
root mkdir new/                                -> mode=755 owner=0,0 .:mc
root mkdir missing/new                         -> ENOENT
root mkdir file/new                            -> ENOTDIR
root mkdir loop/new                            -> ELOOP
root mkdir {255}                               -> mode=755 owner=0,0 .:mc
root mkdir {256}                               -> ENAMETOOLONG
root mkdir {4096}                              -> ENAMETOOLONG
root mkdir {empty}                             -> ENOENT
root mkdir .                                   -> EEXIST
root mkdir dir/..                              -> EEXIST
""",
    "mkfifo": """
root mkfifo new                                -> mode=644 owner=0,0 .:mc
alice mkfifo setgid/new 600                    -> mode=600 owner=1001,5000 setgid:mc
alice mkfifo home/new 7777                     -> mode=7777 owner=1001,1001 home:mc
alice mkfifo new                               -> EACCES
alice mkfifo shut/new                          -> EACCES
root mkfifo file                               -> EEXIST
root mkfifo dangling                           -> EEXIST
root mkfifo missing/new                        -> ENOENT
root mkfifo file/new                           -> ENOTDIR
root mkfifo loop/new                           -> ELOOP
root mkfifo {256}                              -> ENAMETOOLONG
root mkfifo {4096}                             -> ENAMETOOLONG
""",
    "open": """
root open file rdonly                          -> ok
root open file wronly                          -> ok
root open file rdwr,trunc                      -> file:mc
root open file rdonly,trunc                    -> file:mc
root open empty rdonly,directory               -> ok
root open new rdwr,creat 640                   -> mode=640 owner=0,0 .:mc
root open new rdwr,creat 7777                  -> mode=7777 owner=0,0 .:mc
root open new rdonly,creat,excl 644            -> mode=644 owner=0,0 .:mc
root open dir/new rdwr,creat 644               -> mode=644 owner=0,0 dir:mc
root open dangling rdwr,creat 644              -> .:mc
root open link rdonly,nofollow                 -> ELOOP
root open link rdwr,creat,excl 644             -> EEXIST
root open dangling rdwr,creat,excl 644         -> EEXIST
root open file rdwr,creat 600                  -> ok
root open file rdwr,creat,excl 600             -> EEXIST
root open dir rdonly                           -> ok
root open dir rdwr                             -> EISDIR
root open dir wronly                           -> EISDIR
root open dir rdonly,trunc                     -> EISDIR
root open dir rdwr,creat 644                   -> EISDIR
root open file rdonly,directory                -> ENOTDIR
root open fifo wronly,nonblock                 -> ENXIO
root open fifo rdonly,nonblock                 -> ok
root open missing rdonly                       -> ENOENT
root open missing/x rdonly                     -> ENOENT
root open missing/x rdwr,creat 644             -> ENOENT
root open file/x rdonly                        -> ENOTDIR
root open file/x rdwr,creat 644                -> ENOTDIR
root open file/ rdonly                         -> ENOTDIR
root open new/ rdwr,creat 644                  -> EISDIR
root open loop rdonly                          -> ELOOP
root open deeploop rdonly                      -> ELOOP
root open {255} rdwr,creat 644                 -> mode=644 owner=0,0 .:mc
root open {256} rdwr,creat 644                 -> ENAMETOOLONG
root open {256} rdonly                         -> ENAMETOOLONG
root open {4096} rdonly                        -> ENAMETOOLONG
root open {empty} rdonly                       -> ENOENT
alice open file rdonly                         -> ok
alice open file wronly                         -> EACCES
alice open file rdwr                           -> EACCES
alice open file rdonly,trunc                   -> EACCES
alice open secret rdonly                       -> EACCES
alice open alices rdwr                         -> ok
member open shared rdwr                        -> ok
bob open shared wronly                         -> EACCES
bob open shared rdonly                         -> ok
alice open new rdwr,creat 644                  -> EACCES
alice open home/new rdwr,creat 644             -> mode=644 owner=1001,1001 home:mc
alice open home/new rdonly,creat 000           -> mode=0 owner=1001,1001 home:mc
alice open setgid/new rdwr,creat 644           -> mode=644 owner=1001,5000 setgid:mc
alice open setgid/new rdwr,creat 2755          -> mode=755 owner=1001,5000 setgid:mc
member open setgid/new rdwr,creat 2775         -> mode=2775 owner=1002,5000 setgid:mc
alice open home/roots rdwr                     -> EACCES
alice open sticky/bobs rdwr                    -> ok
alice open closed/file rdonly                  -> EACCES
alice open shut/file rdwr                      -> ok
alice open shut/new rdwr,creat 644             -> EACCES
alice open blind rdonly                        -> EACCES
alice open blind/file rdonly                   -> ok
alice open blind/new rdwr,creat 644            -> mode=644 owner=1001,1001 blind:mc
alice open home rdonly,noatime                 -> ok
alice open file rdonly,noatime                 -> EPERM
alice open home tmpfile,rdwr 644               -> ok
alice open dir tmpfile,rdwr 644                -> EACCES
root open dir tmpfile,rdonly 644               -> EINVAL
root open file tmpfile,rdwr 644                -> ENOTDIR
""",
    "access": """
root access file 7                             -> EACCES
root access setid 7                            -> ok
root access dir 7                              -> ok
alice access file 4                            -> ok
alice access file 2                            -> EACCES
alice access file 1                            -> EACCES
alice access alices 6                          -> ok
alice access secret 0                          -> ok
alice access secret 4                          -> EACCES
alice access closed 0                          -> ok
alice access closed 1                          -> EACCES
alice access closed/file 0                     -> EACCES
alice access shut 2                            -> EACCES
alice access shut 5                            -> ok
member access shared 6                         -> ok
bob access shared 2                            -> EACCES
""",
    "readlink": """
root readlink link                             -> ok
root readlink dangling                         -> ok
root readlink loop                             -> ok
root readlink dirlink                          -> ok
root readlink file                             -> EINVAL
root readlink dir                              -> EINVAL
root readlink missing                          -> ENOENT
root readlink {256}                            -> ENAMETOOLONG
root readlink file/x                           -> ENOTDIR
root readlink deeploop                         -> ok
alice readlink closed/x                        -> EACCES
""",
    "rename": """
root rename file new                           -> .:mc file:c
root rename file dir/new                       -> .:mc dir:mc file:c
root rename file other                         -> .:mc file:c other:c
root rename file hard                          -> ok
root rename file file                          -> ok
root rename file link                          -> .:mc file:c link:c
root rename link new                           -> .:mc link:c
root rename dangling new                       -> .:mc dangling:c
root rename fifo other                         -> .:mc fifo:c other:c
root rename dir new                            -> .:mc dir:c
root rename dir full/new                       -> .:mc dir:c full:mc
root rename dir empty                          -> .:mc dir:c empty:c
root rename full empty                         -> .:mc empty:c full:c
root rename full dir                           -> .:mc dir:c full:c
root rename full/sub empty                     -> .:mc empty:c full:mc full/sub:c
root rename empty full                         -> ENOTEMPTY
root rename full full                          -> ok
root rename dir file                           -> ENOTDIR
root rename file dir                           -> EISDIR
root rename link dir                           -> EISDIR
root rename dir link                           -> ENOTDIR
root rename full full/sub                      -> EINVAL
root rename full full/sub/x                    -> EINVAL
root rename full/inner full                    -> ENOTEMPTY
root rename full .                             -> EBUSY
root rename . new                              -> EBUSY
root rename dir/.. new                         -> EBUSY
root rename dir/. new                          -> EBUSY
root rename full new/                          -> .:mc full:c
root rename file new/                          -> ENOTDIR
root rename file missing/new                   -> ENOENT
root rename missing new                        -> ENOENT
root rename missing missing                    -> ENOENT
root rename file/x new                         -> ENOTDIR
root rename file other/x                       -> ENOTDIR
root rename loop/x new                         -> ELOOP
root rename file loop/x                        -> ELOOP
root rename loop new                           -> .:mc loop:c
root rename file {255}                         -> .:mc file:c
root rename file {256}                         -> ENAMETOOLONG
root rename {256} new                          -> ENAMETOOLONG
root rename file {4096}                        -> ENAMETOOLONG
root rename {empty} new                        -> ENOENT
root rename file {empty}                       -> ENOENT
alice rename alices new                        -> EACCES
alice rename alices home/new                   -> EACCES
alice rename home/mine new                     -> EACCES
alice rename home/mine home/new                -> home:mc home/mine:c
alice rename home/roots home/new               -> home:mc home/roots:c
alice rename home/mine home/roots              -> home:mc home/mine:c home/roots:c
alice rename home/rootdir home/new             -> home:mc home/rootdir:c
alice rename home/rootdir sticky/new           -> EACCES
alice rename home/bobdir home/new              -> home:mc home/bobdir:c
alice rename home/bobdir sticky/new            -> EACCES
alice rename home/mine sticky/new              -> home:mc home/mine:c sticky:mc
alice rename home/mine setgid/new              -> home:mc home/mine:c setgid:mc
alice rename sticky/alices sticky/new          -> sticky:mc sticky/alices:c
alice rename sticky/alices home/new            -> home:mc sticky:mc sticky/alices:c
alice rename sticky/bobs sticky/new            -> EPERM
alice rename sticky/bobs home/new              -> EPERM
alice rename home/mine sticky/bobs             -> EPERM
alice rename home/mine sticky/alices           -> home:mc home/mine:c sticky:mc sticky/alices:c
alice rename sticky/adir home/new              -> home:mc sticky:mc sticky/adir:c
alice rename sticky/bdir home/new              -> EPERM
alice rename sticky/adir sticky/bdir           -> EPERM
alice rename own/bobs own/new                  -> own:mc own/bobs:c
alice rename own/bdir own/new                  -> own:mc own/bdir:c
alice rename own/bdir home/new                 -> EACCES
alice rename home/mine own/bobs                -> home:mc home/mine:c own:mc own/bobs:c
alice rename shut/file home/new                -> EACCES
alice rename home/mine shut/new                -> EACCES
alice rename home/mine closed/new              -> EACCES
alice rename closed/file home/new              -> EACCES
alice rename blind/file home/new               -> blind:mc blind/file:c home:mc
root exchange file dir                         -> .:mc dir:c file:c
root exchange full/inner other                 -> .:mc full:mc full/inner:c other:c
root exchange full dir                         -> .:mc dir:c full:c
root exchange file link                        -> .:mc file:c link:c
root exchange file missing                     -> ENOENT
root exchange full full/sub                    -> EINVAL
alice exchange home/mine home/roots            -> home:mc home/mine:c home/roots:c
alice exchange sticky/alices sticky/bobs       -> EPERM
alice exchange home/mine file                  -> EACCES
""",
    "rmdir": """
root rmdir empty                               -> .:mc empty:c
root rmdir full/sub                            -> full:mc full/sub:c
root rmdir full                                -> ENOTEMPTY
root rmdir file                                -> ENOTDIR
root rmdir fifo                                -> ENOTDIR
root rmdir link                                -> ENOTDIR
root rmdir dirlink                             -> ENOTDIR
root rmdir empty/                              -> .:mc empty:c
root rmdir dirlink/                            -> ENOTDIR
root rmdir missing                             -> ENOENT
root rmdir .                                   -> EINVAL
root rmdir empty/.                             -> EINVAL
root rmdir empty/..                            -> ENOTEMPTY
root rmdir missing/x                           -> ENOENT
root rmdir file/x                              -> ENOTDIR
root rmdir loop                                -> ENOTDIR
root rmdir loop/x                              -> ELOOP
root rmdir {256}                               -> ENAMETOOLONG
root rmdir {4096}                              -> ENAMETOOLONG
root rmdir {empty}                             -> ENOENT
alice rmdir empty                              -> EACCES
alice rmdir home/bobdir                        -> home:mc home/bobdir:c
alice rmdir home/rootdir                       -> ENOTEMPTY
alice rmdir sticky/adir                        -> sticky:mc sticky/adir:c
alice rmdir sticky/bdir                        -> EPERM
alice rmdir own/bdir                           -> own:mc own/bdir:c
alice rmdir shut/dir                           -> EACCES
alice rmdir closed/dir                         -> EACCES
alice rmdir setgid/missing                     -> ENOENT
""",
    "symlink": """
root symlink target new                        -> mode=777 owner=0,0 .:mc
root symlink target dir/new                    -> mode=777 owner=0,0 dir:mc
alice symlink target setgid/new                -> mode=777 owner=1001,5000 setgid:mc
alice symlink target new                       -> EACCES
alice symlink target shut/new                  -> EACCES
alice symlink target closed/new                -> EACCES
alice symlink target blind/new                 -> mode=777 owner=1001,1001 blind:mc
root symlink target file                       -> EEXIST
root symlink target dangling                   -> EEXIST
root symlink target dir                        -> EEXIST
root symlink target missing/new                -> ENOENT
root symlink target file/new                   -> ENOTDIR
root symlink target loop/new                   -> ELOOP
root symlink target {255}                      -> mode=777 owner=0,0 .:mc
root symlink target {256}                      -> ENAMETOOLONG
root symlink target {4096}                     -> ENAMETOOLONG
root symlink target {empty}                    -> ENOENT
""",
    "truncate": """
root truncate file 5                           -> file:mc
root truncate file 0                           -> file:mc
root truncate file 3                           -> file:mc
root truncate file 100                         -> file:mc
root truncate link 3                           -> file:mc
root truncate hard 3                           -> file:mc
root truncate setid 3                          -> setid:mc
root truncate setid 5                          -> setid:mc
alice truncate setid 3                         -> mode=755 setid:mc
alice truncate alices 3                        -> alices:mc
alice truncate file 3                          -> EACCES
alice truncate file 5                          -> EACCES
alice truncate shut/file 3                     -> shut/file:mc
alice truncate closed/file 3                   -> EACCES
bob truncate shared 3                          -> EACCES
member truncate shared 3                       -> shared:mc
root truncate dir 0                            -> EISDIR
root truncate fifo 0                           -> EINVAL
root truncate dangling 3                       -> ENOENT
root truncate missing 3                        -> ENOENT
root truncate missing/x 3                      -> ENOENT
root truncate file/x 3                         -> ENOTDIR
root truncate loop 3                           -> ELOOP
root truncate {256} 3                          -> ENAMETOOLONG
root truncate {4096} 3                         -> ENAMETOOLONG
root truncate {empty} 3                        -> ENOENT
root truncate file -1                          -> EINVAL
root limited-truncate file 2000 1000           -> EFBIG
root limited-truncate file 1000 1000           -> file:mc
root ftruncate file rdwr 3                     -> file:mc
root ftruncate file rdwr 5                     -> file:mc
root ftruncate file rdwr 100                   -> file:mc
root ftruncate file rdonly 3                   -> EINVAL
root ftruncate file wronly -1                  -> EINVAL
root ftruncate file wronly 0                   -> file:mc
root ftruncate dir rdonly 0                    -> EINVAL
""",
    "unlink": """
root unlink file                               -> .:mc file:c
root unlink other                              -> .:mc other:c
root unlink hard                               -> .:mc file:c
root unlink link                               -> .:mc link:c
root unlink dangling                           -> .:mc dangling:c
root unlink loop                               -> .:mc loop:c
root unlink fifo                               -> .:mc fifo:c
root unlink dir                                -> EISDIR
root unlink dir/                               -> EISDIR
root unlink dirlink/                           -> ENOTDIR
root unlink file/                              -> ENOTDIR
root unlink missing                            -> ENOENT
root unlink missing/x                          -> ENOENT
root unlink file/x                             -> ENOTDIR
root unlink loop/x                             -> ELOOP
root unlink {256}                              -> ENAMETOOLONG
root unlink {4096}                             -> ENAMETOOLONG
root unlink {empty}                            -> ENOENT
root unlink .                                  -> EISDIR
alice unlink alices                            -> EACCES
alice unlink home/mine                         -> home:mc home/mine:c
alice unlink home/roots                        -> home:mc home/roots:c
alice unlink home/bobdir                       -> EISDIR
alice unlink sticky/alices                     -> sticky:mc sticky/alices:c
alice unlink sticky/bobs                       -> EPERM
alice unlink own/bobs                          -> own:mc own/bobs:c
alice unlink shut/file                         -> EACCES
alice unlink closed/file                       -> EACCES
alice unlink blind/file                        -> blind:mc blind/file:c
""",
    "utimensat": """
root utime file 1 2                            -> file:amc
root utime file now now                        -> file:amc
root utime file now omit                       -> file:ac
root utime file omit now                       -> file:mc
root utime file omit omit                      -> ok
root utime file 5.000000001 6.999999999        -> file:amc
root utime file 4294967295 4294967296          -> file:amc
root utime file -1 -2                          -> file:amc
root utime file 1.1000000000 1                 -> EINVAL
root utime dir 1 2                             -> dir:amc
root utime fifo 1 2                            -> fifo:amc
root utime link 1 2                            -> file:amc
root lutime link 1 2                           -> link:amc
root utime dangling 1 2                        -> ENOENT
root lutime dangling 1 2                       -> dangling:amc
alice utime alices 1 2                         -> alices:amc
alice utime alices now now                     -> alices:amc
alice utime home/roots 1 2                     -> EPERM
alice utime home/roots now now                 -> EACCES
alice utime home/roots omit omit               -> ok
alice utime home/roots now omit                -> EPERM
bob utime sticky/alices now now                -> EACCES
alice utime sticky/bobs now now                -> sticky/bobs:amc
alice utime sticky/bobs 1 2                    -> EPERM
alice utime sticky/bobs now omit               -> EPERM
alice utime sticky/bobs omit 1                 -> EPERM
alice utime sticky/bobs now 2                  -> EPERM
alice utime sticky now now                     -> sticky:amc
alice utime sticky 1 1                         -> EPERM
member utime shared now now                    -> shared:amc
alice utime shut now now                       -> shut:amc
bob utime shut now now                         -> EACCES
alice utime closed/file now now                -> EACCES
alice utime shut/file 1 1                      -> shut/file:amc
root utime missing now now                     -> ENOENT
root utime file/x 1 1                          -> ENOTDIR
root utime loop 1 1                            -> ELOOP
root utime {256} 1 1                           -> ENAMETOOLONG
root utime {4096} 1 1                          -> ENAMETOOLONG
root utime {empty} 1 1                         -> ENOENT
""",
    "write": """
root write file xy                             -> file:mc
root write setid xy                            -> setid:mc
alice write setid xy                           -> mode=755 setid:mc
alice write sticky/bobs xy                     -> sticky/bobs:mc
alice write file xy                            -> EACCES
root write dir xy                              -> EISDIR
root limited-write file abcdefgh 8             -> file:mc
root limited-write file abcdefgh 7             -> file:mc
root limited-write file abcdefgh 0             -> EFBIG
""",
    "stat": """
root stat file                                 -> ok
root stat file/                                -> ENOTDIR
root stat link/                                -> ENOTDIR
root stat file/.                               -> ENOTDIR
root stat dir/./../file                        -> ok
root stat deeploop                             -> ELOOP
alice stat closed/file                         -> EACCES
alice stat blind/file                          -> ok
root list dir                                  -> ok
root list file                                 -> ENOTDIR
alice list blind                               -> EACCES
alice list closed                              -> EACCES
""",
}
