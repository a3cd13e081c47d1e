CREATE TABLE `celery_tasksetmeta` (
	`id` int AUTO_INCREMENT NOT NULL,
	`taskset_id` varchar(155) character set utf8mb4 collate utf8mb4_bin,
	`result` longblob,
	`date_done` datetime(6),
	CONSTRAINT `celery_tasksetmeta_id` PRIMARY KEY(`id`),
	CONSTRAINT `taskset_id` UNIQUE(`taskset_id`)
);
--> statement-breakpoint
CREATE TABLE `celery_taskmeta` (
	`id` int AUTO_INCREMENT NOT NULL,
	`task_id` varchar(155) character set utf8mb4 collate utf8mb4_bin,
	`status` varchar(50),
	`result` longblob,
	`date_done` datetime(6),
	`traceback` longtext,
	`name` varchar(155),
	`args` longblob,
	`kwargs` longblob,
	`worker` varchar(155),
	`retries` int,
	`queue` varchar(155),
	CONSTRAINT `celery_taskmeta_id` PRIMARY KEY(`id`),
	CONSTRAINT `task_id` UNIQUE(`task_id`)
);
--> statement-breakpoint
CREATE INDEX `ix_celery_tasksetmeta_date_done` ON `celery_tasksetmeta` (`date_done`);--> statement-breakpoint
CREATE INDEX `ix_celery_taskmeta_date_done` ON `celery_taskmeta` (`date_done`);