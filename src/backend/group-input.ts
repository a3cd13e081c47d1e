import type { GroupMember } from './groups.ts'
import { guardText } from './text-guard.ts'

/** A member of a group to be saved: the id of a task, or what knows it, an `AsyncResult` for example. */
export type GroupInput =
  | string
  | {
      readonly id: string
      readonly parent?: GroupInput | null | undefined
      /** The members of a group within the group; a promise, of what a task started, is left out. */
      readonly children?: readonly GroupInput[] | PromiseLike<unknown> | null | undefined
    }

/** @throws StatementError for an id that no row could have */
export function membersOf(members: readonly GroupInput[]): GroupMember[] {
  return members.map(memberOf)
}

function memberOf(member: GroupInput): GroupMember {
  if (typeof member === 'string') return { id: guardText('taskId', member), parent: null }
  const { id, parent, children } = member
  return {
    id: guardText('taskId', id),
    parent: parent == null ? null : memberOf(parent),
    ...(isList(children) && { children: membersOf(children) }),
  }
}

function isList(children: unknown): children is readonly GroupInput[] {
  return Array.isArray(children)
}
