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
      /** The same, as a `GroupResult` has them. */
      readonly results?: readonly GroupInput[] | undefined
    }

/** @throws StatementError for an id that no row could have */
export function membersOf(members: readonly GroupInput[]): GroupMember[] {
  return members.map(memberOf)
}

function memberOf(member: GroupInput): GroupMember {
  if (typeof member === 'string') return { id: guardText('taskId', member), parent: null }
  const { id, parent } = member
  const children = membersIn(member)
  return {
    id: guardText('taskId', id),
    parent: parent == null ? null : memberOf(parent),
    ...(children !== null && { children: membersOf(children) }),
  }
}

/** An AsyncResult's `children` are not its members, and to look at them would ask the database. */
function membersIn(group: Exclude<GroupInput, string>): readonly GroupInput[] | null {
  if (group.results !== undefined) return group.results
  return Object.hasOwn(group, 'children') && Array.isArray(group.children) ? group.children : null
}
